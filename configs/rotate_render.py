"""Kwon (2021): one frontal frame, the side view drawn by machine, then Lium's network.

Kwon found no gain over Lium: a drawn view adds no information. How much the true one is worth is
front_side.py's row at 2 frames, a single image its row at 1. For records prepared with
--frame_maps, of heads that turn beyond 45 degrees.
"""

from configs import front_side


def get_config():
    """Returns the options: Lium's, and those of the fit and of the filling network."""
    config = front_side.get_config()

    config.data.augmentation.rotation_deg = 10.0  # The fit follows: large rolls are no front.
    config.data.augmentation.coarse_dropout = 0.0  # It would be lifted as texture.

    model = config.model
    model.name = 'rotate_render'
    model.code_size = 40
    model.fit_features = 16
    model.fill_features = 32
    model.side_yaw_deg = 60.0

    config.train.loss_weights.rotated_views = 1e-3  # They do not move the answer.
    return config
