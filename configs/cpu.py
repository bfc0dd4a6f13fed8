"""The flagship's correspondence network as two CPU cores train it, on hard pictures.

Draw the pictures first: `python -m data_prep.hard_pictures --face_dir=FaceXModel
--out_dir=data/pictures`.
"""

import ml_collections


def get_config():
    """Returns the options; the sections are those of default.py, with fields of its own."""
    config = ml_collections.ConfigDict()

    config.data = data = ml_collections.ConfigDict()
    data.dir = 'data/pictures'  # Where the pictures are.
    data.image_size = 128  # Pixels of a crop's side.
    data.plain_share = 0.5  # Share of crops of plain pictures, like own photos; others are hard.
    data.batch_size = 32  # Crops in a step.

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
    optimizer.name = 'adam'  # Or 'muon'; see training/muon.py.
    optimizer.learning_rate = 2e-3
    optimizer.decay_factor = 0.5  # See correspondence_training.py for when.
    optimizer.clip_norm = 3.0
    optimizer.weight_decay = 1e-4

    config.train = train = ml_collections.ConfigDict()
    train.seed = 0
    train.num_steps = 14_000  # Optimiser steps.
    train.start_from = ''  # Workdir of a run whose parameters this one begins with.
    train.ema_decay = 0.998  # Decay of the averaged parameters.
    train.log_every_steps = 25
    train.checkpoint_every_steps = 250
    train.scan_unroll = 0
    # How much each loss counts; seqface_jax/training/point_losses.py has their formulas.
    train.loss_weights = weights = ml_collections.ConfigDict()
    weights.nll = 1.0  # Likelihood of the points' places, in the first answer.
    weights.distance = 0.05  # Their distance in % of the crop.
    weights.layout = 3.0  # Error of the principal layouts' coefficients, each in its own spread.
    weights.local_nll = 1.0  # Likelihood and distance of the corrected places.
    weights.local_distance = 0.05
    weights.seen = 1.0  # Whether a point is seen, in the first answer.
    weights.local_seen = 1.0  # After the correction.
    weights.face = 1.0  # Whether the crop shows a face.

    # run_eval.py scores the flagship on records of people, once `data_prep.package_files.calibrate`
    # has measured what its points are worth.
    config.eval = evaluation = ml_collections.ConfigDict()
    evaluation.data_dir = ''  # Folder of the records; '' is that of --data_dir.
    evaluation.data_name = ''  # Their name; '' is that of --data_name.
    evaluation.num_frames = (1, 2, 4, 8, 16, 32)
    evaluation.splits = ('train', 'test')
    evaluation.checkpoints = ('best_validation',)
    evaluation.max_subjects = 0  # Most subjects of each split, evenly over their ids; 0: all.
    evaluation.seed = 0  # Seed of the frames drawn and of the bootstrap.
    return config
