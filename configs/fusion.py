"""The former flagship: every frame adds evidence about the face, see seqface_jax/models/fusion.py.

With hundreds of people to learn from, fixed oriented gradients of frame and unwrapped face
generalise where learned filters learn the people by heart. docs/RESULTS.md has its figures.
"""

from configs import default


def get_config():
    """Returns the options for frames of 256 pixels and hundreds of people."""
    config = default.get_config()

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
    augmentation.repeat = 0.3

    model = config.model
    model.name = 'fusion'
    model.encoder = {  # 32 x 32 cells of the frame, 16 x 16 of the unwrapped face.
        'kind': 'unwrapped_gradients',
        'features': 8,
        'stride': 8,
        'refinements': 3,
    }
    model.pose_products = True
    model.calibrate = True
    model.memory_features = 16
    model.memory_stride = 8
    model.feature_size = 1024
    model.hidden_features = 192
    model.code_size = 60
    model.measurements = 128
    model.dropout = 0.3
    model.training_stride = 4

    config.optimizer.learning_rate = 4e-3
    config.optimizer.decay_every_epochs = 8
    config.optimizer.weight_decay = 0.05

    config.train.loss_weights.gaussian_nll = 0.1
    config.train.num_epochs = 28
    config.train.ema_decay = 0.99
    config.train.cpu_devices = 0
    return config
