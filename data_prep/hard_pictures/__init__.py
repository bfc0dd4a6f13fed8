"""Pictures of made-up heads that are hard on purpose, for the correspondence network.

The way of the data: `template_model` (one topology) -> `people` (many kinds of shape) -> `looks`
and `things` (hair, hats, glasses) -> `camera` -> `picture`, which the `painter` draws (with where
every template point is in it) -> `damage` -> `shards` (files).
"""
