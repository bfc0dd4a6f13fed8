"""A smooth step from 0 to 1."""

import numpy as np


def smoothstep(low, high, x):
    """Returns 0 below `low`, 1 above `high`, and a smooth cubic between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
