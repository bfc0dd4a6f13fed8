"""The correspondence network of the flagship, on hard pictures of made-up people.

Draw the pictures first: `python -m data_prep.hard_pictures --face_dir=FaceXModel
--out_dir=data/pictures`.
"""

import ml_collections

from configs import default


def get_config():
    """Returns the options; the sections are those of default.py, with other fields."""
    config = ml_collections.ConfigDict()

    config.data = data = ml_collections.ConfigDict()
    data.dir = 'data/pictures'  # Where the pictures are.
    data.image_size = 128  # Pixels of a crop's side.
    data.batch_size = 32  # Crops in a step.
    data.normalization = 'unit'

    config.model = model = ml_collections.ConfigDict()
    model.name = 'correspondence'
    model.num_points = 500  # Template points, see data_prep/hard_pictures/points.py.
    model.num_layouts = 100
    model.widths = (32, 80, 192)
    model.blocks = (1, 2, 1)
    model.hidden = 384
    model.local = 32
    model.local_hidden = 96

    config.optimizer = optimizer = ml_collections.ConfigDict()
    optimizer.learning_rate = 2e-3
    optimizer.decay_factor = 0.5  # See training.py for when.
    optimizer.clip_norm = 3.0
    optimizer.weight_decay = 1e-4

    config.train = train = ml_collections.ConfigDict()
    train.seed = 0
    train.num_steps = 12_000  # Optimiser steps.
    train.ema_decay = 0.998  # Decay of the averaged parameters.
    train.log_every_steps = 25
    train.checkpoint_every_steps = 250
    train.scan_unroll = 0

    config.eval = default.get_config().eval
    return config
