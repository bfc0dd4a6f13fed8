"""The former flagship made small: minutes on two CPU cores, on the embedded synthetic faces.

`./setup.sh train` makes the data, trains this and prints its table.
"""

from configs import fusion


def get_config():
    """Returns the options of fusion.py at 128 pixels, for about a hundred people."""
    config = fusion.get_config()

    config.data.dir = 'data/quickstart'
    config.data.image_size = 128

    config.model.memory_stride = 4
    config.model.feature_size = 384
    config.model.hidden_features = 64
    config.model.measurements = 96

    config.optimizer.learning_rate = 6e-3
    config.optimizer.decay_every_epochs = 5
    config.optimizer.weight_decay = 1e-3
    config.train.num_epochs = 16
    config.train.ema_decay = 0.98

    config.eval.num_frames = (1, 8)
    config.eval.splits = ('test',)
    config.eval.checkpoints = ('best_validation',)
    config.eval.max_subjects = 27  # All of test.
    return config
