"""fusion_cpu.py, and beside the neutral face that of every frame, with its expression.

For records prepared with --frame_maps: a frame without a scan of its own teaches no expression.
docs/RESULTS.md has its figures.
"""

from configs import fusion_cpu


def get_config():
    """Returns the options of fusion_cpu.py with the head for expressions."""
    config = fusion_cpu.get_config()

    config.data.frame_maps = True
    config.data.augmentation.jpeg = 0.0  # Its figures are older.
    config.model.expression_size = 24
    config.train.loss_weights.frame_l1 = 1.0
    return config
