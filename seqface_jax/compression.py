"""What JPEG does to frames, on the device: ITU-T T.81 with the tables of the Independent JPEG Group.

Only what is lost: colours at half the resolution, and blocks of 8 x 8 pixels whose cosine
coefficients are rounded; what follows in a file, the packing, loses nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np

MIN_QUALITY, MAX_QUALITY = 25, 95  # Of the random ones.
_BLOCK = 8
_TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
_FROM_YCBCR = np.linalg.inv(_TO_YCBCR).astype(np.float32)
_LUMINANCE = (  # T.81, table K.1; the next one is K.2.
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *(((99,) * 8,) * 4),
)


def compress(frames, quality):
    """Returns frames as they come back from JPEG files of 4:2:0.

    Args:
        frames: [T, H, W, 3] float32 RGB in [0, 1].
        quality: [T], 1 to 100, as libjpeg counts it.

    Returns:
        [T, H, W, 3] float32.
    """
    height, width = frames.shape[1:3]
    ends = [(0, -size % (2 * _BLOCK)) for size in (height, width)]
    frames = jnp.pad(frames, ((0, 0), *ends, (0, 0)), 'edge')
    planes = jnp.einsum('thwc,dc->dthw', 255 * frames, _TO_YCBCR)
    luminance = _round_blocks(planes[0] - 128, _steps(_LUMINANCE, quality)) + 128
    colors = _halve(planes[1:])
    colors = [_round_blocks(color, _steps(_CHROMINANCE, quality)) for color in colors]
    colors = [jax.image.resize(color, luminance.shape, 'bilinear') for color in colors]
    frames = jnp.einsum('dthw,cd->thwc', jnp.stack([luminance, *colors]), _FROM_YCBCR) / 255
    return jnp.clip(frames[:, :height, :width], 0, 1)


def _steps(table, quality):
    """Returns the steps of the coefficients of blocks at a quality, [T, 8, 8]."""
    scale = jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None]
    return jnp.clip(jnp.floor((np.float32(table) * scale + 50) / 100), 1, 255)


def _round_blocks(plane, steps):
    """Rounds the cosine coefficients of each block of a plane [T, H, W] to steps [T, 8, 8]."""
    count, height, width = plane.shape
    blocks = plane.reshape(count, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    cosines = _cosines()
    steps = steps[:, None, :, None]
    coefficients = jnp.einsum('ui,taibj,vj->taubv', cosines, blocks, cosines)
    coefficients = jnp.round(coefficients / steps) * steps
    return jnp.einsum('ui,taubv,vj->taibj', cosines, coefficients, cosines).reshape(plane.shape)


def _cosines():
    """Returns the orthonormal cosine transform of 8 numbers, [8, 8]: T.81, A.3.3."""
    k = np.arange(_BLOCK)
    matrix = np.cos(np.pi * k[:, None] * (2 * k + 1) / (2 * _BLOCK)) / 2
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def _halve(planes):
    """Averages 2 x 2 pixels of planes [..., H, W]."""
    *rest, height, width = planes.shape
    return planes.reshape(*rest, height // 2, 2, width // 2, 2).mean(axis=(-3, -1))
