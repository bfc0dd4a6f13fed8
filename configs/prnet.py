"""PRNet (Feng et al., 2018): one frame to its map in image space. 13,353,618 parameters.

Its network, weight mask, augmentation and schedule; ours are the data and the chart. The paper
reports 3.76 % on MICC Florence by its own protocol, which is none of our metrics. For records
prepared with --frame_maps.
"""

from configs import default


def get_config():
    """Returns PRNet's options."""
    config = default.get_config()

    data = config.data
    data.frame_maps = True
    data.num_frames = 1
    data.batch_size = 16
    augmentation = data.augmentation
    augmentation.shift = 0.1
    augmentation.zoom = 1.05  # 0.9 to 1.2.
    augmentation.scale = 0.15
    augmentation.rotation_deg = 45.0
    augmentation.color = 0.4
    augmentation.brightness = 0.0
    augmentation.contrast = 0.0
    augmentation.noise = 0.0
    augmentation.mirror = False
    augmentation.occlusion = 0.5
    augmentation.occluder = 'noise'

    config.model.name = 'prnet'
    config.model.features = 16

    optimizer = config.optimizer
    optimizer.learning_rate = 1e-4
    optimizer.decay_factor = 0.5
    optimizer.decay_every_epochs = 5
    optimizer.l2 = 2e-4
    optimizer.clip_norm = 0.0

    config.train.loss_weights.masked_l1 = 0.0
    config.train.loss_weights.weighted_image = 1.0
    return config
