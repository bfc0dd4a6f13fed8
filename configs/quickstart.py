"""The flagship made small: minutes on two CPU cores, on the embedded synthetic faces.

`./setup.sh quickstart` makes the data, trains this and prints its table. With about a hundred
people to learn from, fixed oriented gradients of frame and unwrapped face generalise where learned
filters learn the people by heart.
"""

from configs import bu4dfe


def get_config():
    """Returns the flagship's options at 128 pixels, with an encoder without parameters."""
    config = bu4dfe.get_config()

    config.data.dir = 'data/quickstart'
    config.data.image_size = 128
    config.data.batch_size = 16
    augmentation = config.data.augmentation
    # Where a face lies in its crop is part of what is measured: moving it costs more than it gives.
    augmentation.shift = 0.0
    augmentation.scale = 0.0
    augmentation.rotation_deg = 0.0
    augmentation.brightness = 0.1
    augmentation.contrast = 0.15
    augmentation.color = 0.1
    augmentation.noise = 0.005
    augmentation.occlusion = 0.0

    config.model.encoder = ({'kind': 'unwrapped_gradients', 'features': 8, 'stride': 8},)  # 16
    config.model.memory_features = 16
    config.model.memory_stride = 4
    config.model.feature_size = 384
    config.model.hidden_features = 64
    config.model.measurements = 96

    config.optimizer.learning_rate = 6e-3
    config.optimizer.decay_every_epochs = 5
    config.train.num_epochs = 16
    config.train.ema_decay = 0.98

    config.eval.num_frames = (1, 8)
    config.eval.splits = ('test',)
    config.eval.checkpoints = ('best_validation',)
    config.eval.max_subjects = 27  # All of test.
    return config
