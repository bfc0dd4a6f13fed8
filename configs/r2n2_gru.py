"""3D-R2N2 (Choy et al., 2016), 3D-GRU: views to voxels. 32,207,266 parameters.

--config.model.residual=True is the residual network of 35,968,706. Their weight decay, rates and
number of views; the voxels are those of the face, inside or not, from the position maps.
"""

from configs import default


def get_config():
    """Returns the options of the GRU network."""
    config = default.get_config()

    data = config.data
    data.image_size = 127
    data.num_frames = 5
    data.batch_size = 24

    model = config.model
    model.name = 'r2n2'
    model.recurrence = 'gru'
    model.residual = False
    model.encoder_features = (96, 128, 256, 256, 256, 256)
    model.code_features = 1024
    model.state_features = 128
    model.decoder_features = (128, 128, 64, 32)
    model.surface_level = 0.5

    optimizer = config.optimizer
    optimizer.learning_rate = 1e-4
    optimizer.decay_factor = 0.1
    optimizer.decay_every_epochs = 0
    optimizer.decay_at_steps = (20_000, 60_000)
    optimizer.l2 = 5e-5

    config.train.loss_weights.masked_l1 = 0.0
    config.train.loss_weights.voxels = 1.0
    return config
