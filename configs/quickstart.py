"""The flagship made small: minutes on two CPU cores, on the embedded synthetic faces.

`./setup.sh quickstart` makes the data, trains this and prints its table.
"""

from configs import bu4dfe


def get_config():
    """Returns the flagship's options at 64 pixels, with a small encoder."""
    config = bu4dfe.get_config()

    config.data.dir = 'data/quickstart'
    config.data.image_size = 64

    config.model.encoder = (  # Sides at 64 pixels in the comments.
        {'kind': 'conv', 'features': 16, 'stride': 2},  # 32
        {'kind': 'conv', 'features': 32, 'stride': 2},  # 16
        {'kind': 'conv', 'features': 64, 'stride': 2},  # 8
        {'kind': 'conv', 'features': 64},
        {'kind': 'conv', 'features': 96, 'stride': 2},  # 4
    )
    config.model.memory_features = 32
    config.model.hidden_features = 256

    config.train.num_epochs = 30
    config.optimizer.decay_every_epochs = 12

    config.eval.num_frames = (1, 2, 4, 8)
    return config
