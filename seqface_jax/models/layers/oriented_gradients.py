"""Histograms of oriented gradients: where edges run, whatever the light and the colour.

Dalal and Triggs, 2005. A network that is shown a hundred people learns to tell them apart by
colour, hair and background, which say nothing about the next person's shape; on these features it
generalises from as few.
"""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

BLOCK_CELLS = 5  # Side of the neighbourhood that contrast is measured in.
MIN_CONTRAST = 0.005  # Gradient, of full scale per pixel: below it lies the noise of a sensor.


class OrientedGradients(nn.Module):
    """Turns each frame into histograms of edge direction, one per cell. No parameters.

    Attributes:
        features: number of directions over half a turn.
        stride: side of a cell, in pixels.
    """

    features: int = 8
    stride: int = 4

    @nn.compact
    def __call__(self, x, *, train):
        """Returns [N, H / stride, W / stride, features], about 1 on average, of x [N, H, W, 3]."""
        del train
        gray = jnp.pad(x.mean(axis=-1), ((0, 0), (1, 1), (1, 1)), mode='edge')
        across = (gray[:, 1:-1, 2:] - gray[:, 1:-1, :-2]) / 2
        down = (gray[:, 2:, 1:-1] - gray[:, :-2, 1:-1]) / 2
        strength = jnp.sqrt(jnp.square(across) + jnp.square(down) + 1e-12)
        place = jnp.arctan2(down, across) / np.pi * self.features  # Light or dark side: the same.
        bins = np.arange(self.features)
        distance = jnp.abs((place[..., None] - bins + self.features / 2) % self.features
                           - self.features / 2)  # fmt: skip
        votes = strength[..., None] * jnp.maximum(1 - distance, 0)  # Shared by two directions.
        window, strides = (2 * self.stride,) * 2, (self.stride,) * 2  # Cells overlap.
        cells = nn.avg_pool(votes, window, strides, padding='SAME')
        contrast = nn.avg_pool(
            cells.mean(axis=-1, keepdims=True), (BLOCK_CELLS,) * 2, (1, 1), padding='SAME'
        )
        return cells / (contrast + MIN_CONTRAST / self.features)
