"""The former flagship at its smallest: seconds on a CPU, for the tests. Its faces are of no use."""

from configs import quickstart


def get_config():
    """Returns options for 64 pixels, 2 frames and a network of a few thousand parameters."""
    config = quickstart.get_config()

    config.data.image_size = 64
    config.data.num_frames = 2
    config.data.batch_size = 2
    config.data.num_threads = 2

    config.model.encoder = {'kind': 'oriented_gradients', 'features': 4, 'stride': 8}
    config.model.pose_products = False
    config.model.feature_size = 16
    config.model.memory_features = 8
    config.model.hidden_features = 16
    config.model.code_size = 4
    config.model.measurements = 6

    config.train.num_epochs = 2
    config.train.cpu_devices = 1
    config.train.log_every_steps = 1

    config.eval.num_frames = (1, 2)
    config.eval.splits = ('train', 'test')
    config.eval.checkpoints = ('best_training', 'best_validation')
    return config
