"""The former flagship as two CPU cores train it: realistic synthetic people, at 128 pixels.

docs/RESULTS.md gives the commands that make the data, the time and the figures.
"""

from configs import quickstart


def get_config():
    """Returns the options of quickstart.py for hundreds of people."""
    config = quickstart.get_config()

    config.data.dir = 'data/ict'
    config.data.augmentation.jpeg = 0.3
    config.model.feature_size = 768
    config.model.hidden_features = 192
    config.model.measurements = 128

    config.optimizer.learning_rate = 4e-3
    config.optimizer.decay_every_epochs = 6
    config.optimizer.weight_decay = 0.05
    config.train.num_epochs = 20
    config.train.ema_decay = 0.99

    config.eval.num_frames = (1, 2, 4, 8, 16, 32)
    config.eval.max_subjects = 0
    return config
