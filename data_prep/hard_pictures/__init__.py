"""Pictures of made-up heads that are hard on purpose, for the correspondence network.

The way of the data: `template_model` (one topology) -> `people` (many kinds of shape) -> `scene`
(looks, hair, things) -> `camera` and `light` -> `painter` (a picture and where every template
point is in it) -> `damage` -> `shards` (files).
"""
