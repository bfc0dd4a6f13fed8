"""The flagship: every frame adds evidence about the face, see seqface_jax/models/fusion.py."""

from configs import default


def get_config():
    """Returns the options for BU-4DFE at 256 pixels."""
    config = default.get_config()

    config.data.batch_size = 16
    config.data.augmentation.repeat = 0.3

    model = config.model
    model.name = 'fusion'
    model.encoder = (  # Sides at 256 pixels in the comments.
        {'kind': 'unwrapped_gradients', 'features': 8, 'stride': 8},  # 32
        {'kind': 'conv', 'features': 64},
        {'kind': 'inverted_residual', 'features': 96, 'stride': 2, 'expansion': 4, 'repeats': 3},
        {'kind': 'inverted_residual', 'features': 160, 'stride': 2, 'expansion': 4, 'repeats': 2},
    )  # 8
    model.memory_features = 64
    model.memory_stride = 1
    model.feature_size = 768
    model.hidden_features = 512
    model.code_size = 60
    model.measurements = 160
    model.dropout = 0.3
    model.norm = 'group'
    model.training_stride = 4

    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 1e-3

    config.train.loss = 'masked_l1'
    config.train.uncertainty_weight = 0.1
    config.train.ema_decay = 0.995
    return config
