"""Every option, once. The other configs start from here and set what differs.

Prepare BU-4DFE (or the embedded synthetic tree) first: `python -m data_prep bu4dfe ...`.
"""

import ml_collections


def get_config():
    """Returns the full-size options; `--config.section.field=value` overrides any of them."""
    config = ml_collections.ConfigDict()

    config.data = data = ml_collections.ConfigDict()
    data.dir = 'data'  # Where data_prep wrote the records.
    data.name = 'bu4dfe'  # The TFDS name of the records.
    data.image_size = 256  # Pixels; 64, 128 or 256. The model follows.
    data.num_frames = 8  # T, frames of one person in a training sequence.
    data.batch_size = 8  # Sequences per step, over all devices.
    data.normalization = 'unit'  # 'unit': x / 255; 'min_max_bgr': per image, as the thesis.
    data.target = 'position_map'  # 'position_map' (ordered, mm) or 'points' (the thesis's).
    data.train_split = 'train'  # TFDS split expressions, by subject.
    data.validation_split = 'validation'
    data.test_split = 'test'
    data.frame_maps = False  # Batches also hold each frame's own maps; see data_prep --frame_maps.
    # What a training example is: 'sequences', or 'pairs' of two views (num_frames 1: the first).
    data.draw = 'sequences'
    data.front_max_yaw_deg = 45.0  # The frontal frame of a pair is turned by less ...
    data.side_min_yaw_deg = 45.0  # ... and the one from the side by more.
    data.num_threads = 4  # Threads of the reader.
    data.on_bad_record = 'fail'  # A damaged record is named; 'skip': and left out.
    data.cache_mib = 4096  # Decoded frames kept in host memory; 0 turns it off.

    data.augmentation = augmentation = ml_collections.ConfigDict()
    augmentation.enabled = True
    augmentation.shift = 0.06  # Largest shift, as a share of the crop's width, either way.
    augmentation.scale = 0.1  # Largest change of the crop's size, as a share, either way ...
    augmentation.zoom = 1.0  # ... of this.
    augmentation.rotation_deg = 10.0  # In the image plane, either way.
    augmentation.brightness = 0.2  # Offset, of full scale.
    augmentation.contrast = 0.3  # Gain, either way.
    augmentation.color = 0.15  # Gain of each channel, either way.
    augmentation.noise = 0.03  # Standard deviation, of full scale.
    augmentation.jpeg = 0.0  # Share of frames that are compressed, at a random quality.
    augmentation.mirror = True  # Half of the sequences; the target is mirrored too.
    augmentation.repeat = 0.0  # Share of sequences half of whose frames repeat earlier ones.
    augmentation.occlusion = 0.3  # Share of frames with an erased rectangle ...
    augmentation.occluder = 'color'  # ... of one colour, or of 'noise'.
    augmentation.coarse_dropout = 0.0  # Up to this share of 8 x 8 blocks is black; half at least.

    config.model = model = ml_collections.ConfigDict()
    model.name = 'seqface'
    # The fields of the model class follow; each config sets them whole.

    config.optimizer = optimizer = ml_collections.ConfigDict()
    optimizer.learning_rate = 1e-3
    optimizer.decay_factor = 0.5  # Step decay: the rate is multiplied by this ...
    optimizer.decay_every_epochs = 10  # ... so often; 0 turns it off ...
    optimizer.decay_at_steps = ()  # ... and at these steps.
    # 'keras_adam': epsilon outside the bias correction, as Keras; 'muon': see training/muon.py.
    optimizer.name = 'adam'
    optimizer.epsilon = 1e-8  # Keeps the division of both Adams finite.
    optimizer.clip_norm = 1.0  # Largest norm of the global gradient; 0 turns it off.
    optimizer.weight_decay = 0.0  # Taken off the weights, besides Adam.
    optimizer.l2 = 0.0  # Times the weights, added to their gradients; biases are left out.

    config.train = train = ml_collections.ConfigDict()
    train.seed = 0
    train.num_epochs = 100
    # The workdir of a run whose parameters and constants are where training starts; its network
    # must be that of this config.
    train.start_from = ''
    # How much each loss counts, 0: not at all; seqface_jax/training/losses.py has their formulas.
    train.loss_weights = weights = ml_collections.ConfigDict()
    weights.masked_l1 = 1.0  # Distance of the points after every frame, mm.
    weights.index_mse = 0.0  # The thesis's, after the last frame.
    weights.weighted_image = 0.0  # PRNet's, in image space; needs data.frame_maps, as the next two.
    weights.image_mse = 0.0  # Lium's, in image space, after the last frame.
    weights.rotated_views = 0.0  # The parts that draw Kwon's side view, besides image_mse.
    weights.voxels = 0.0  # 3D-R2N2's, after the last frame.
    weights.gaussian_nll = 0.0  # Likelihood, for a model that says its variance.
    weights.frame_l1 = 0.0  # The frames' own faces; see configs/expressions.py.
    train.early_stop_epochs = 30  # Epochs without a better loss; 0 turns it off.
    train.ema_decay = 0.0  # Decay of the averaged weights that are evaluated; 0 turns it off.
    train.checkpoint_every_steps = 500  # `latest`, besides the end of each epoch.
    train.log_every_steps = 10
    # Where there is no GPU; 0: one for each core, as many as can share a batch. Another number of
    # devices, other draws of dropout.
    train.cpu_devices = 1
    # Frames that nn.scan unrolls; 0: all of them on CPU, one at a time on GPU.
    train.scan_unroll = 0

    config.eval = evaluation = ml_collections.ConfigDict()
    evaluation.num_frames = (1, 2, 4, 8, 16, 32)
    evaluation.splits = ('train', 'test')
    evaluation.checkpoints = ('best_training', 'best_validation')
    evaluation.max_subjects = 0  # Most subjects of each split, evenly over their ids; 0: all.
    evaluation.seed = 0  # Seed of the frames drawn and of the bootstrap.
    return config
