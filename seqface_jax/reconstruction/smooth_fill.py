"""Fills what is not known of an image smoothly from what is known."""

import cv2
import numpy as np


def fill(values, known):
    """Returns an image filled from coarse to fine, each level from the last.

    Gortler et al., 1996 (push-pull).

    Args:
        values: [H, W, C].
        known: [H, W] in [0, 1], how far a value is known.

    Returns:
        [H, W, C] float32.
    """
    values, known = np.asarray(values, np.float32), np.asarray(known, np.float32)
    height, width = known.shape
    channels = values.shape[2]
    if min(height, width) <= 1 or known.min() >= 1:
        total = np.maximum(known.sum(), 1e-12)
        mean = (values * known[..., None]).sum((0, 1)) / total
        return np.where(known[..., None] > 0, values, mean)
    half = (-(-width // 2), -(-height // 2))
    coarse_known = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(values * known[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = coarse.reshape(*half[::-1], channels)
    coarse = coarse / np.maximum(coarse_known, 1e-12)[..., None]
    below = fill(coarse, np.minimum(1, 4 * coarse_known))
    below = cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR)
    below = cv2.GaussianBlur(below, (0, 0), 1.0).reshape(values.shape)
    return below + known[..., None] * (values - below)
