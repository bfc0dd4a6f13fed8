"""What JPEG does to frames, on the device: ITU-T T.81, qualities as libjpeg counts them.

Only what is lost: colours at half the resolution, and blocks of 8 x 8 pixels whose cosine
coefficients are rounded; what follows in a file, the packing, loses nothing.
"""

import jax.numpy as jnp
import numpy as np

MIN_QUALITY, MAX_QUALITY = 25, 95  # Limits of the random quality.
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
    luminance, *colors = _mix(255 * frames, _TO_YCBCR)
    luminance = _round_blocks(luminance - 128, _steps(_LUMINANCE, quality)) + 128
    steps = _steps(_CHROMINANCE, quality)
    colors = [_round_blocks(_halve(color), steps) for color in colors]
    colors = [_double(color) for color in colors]
    planes = jnp.stack([luminance, *colors], axis=-1)
    frames = jnp.stack(_mix(planes, _FROM_YCBCR), axis=-1) / 255
    return jnp.clip(frames[:, :height, :width], 0, 1)


def _mix(planes, weights):
    """Returns sums of the last axis of planes [..., 3], one for each row of weights [3, 3]."""
    # No matrix product: a CPU is slow at those of 3 channels.
    return [sum(planes[..., i] * row[i] for i in range(3)) for row in weights]


def _steps(table, quality):
    """Returns the steps of the coefficients of blocks at a quality, [T, 64]."""
    scale = jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None]
    return jnp.clip(jnp.floor((np.float32(table).ravel() * scale + 50) / 100), 1, 255)


def _round_blocks(plane, steps):
    """Rounds the cosine coefficients of each block of a plane [T, H, W] to steps [T, 64]."""
    count, height, width = plane.shape
    blocks = plane.reshape(count, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    blocks = blocks.swapaxes(2, 3).reshape(count, -1, _BLOCK**2)
    # Both axes at once: more to add up than one after the other, but one matrix product.
    cosines = np.kron(_cosines(), _cosines())
    coefficients = jnp.round(blocks @ cosines.T / steps[:, None]) * steps[:, None]
    blocks = (coefficients @ cosines).reshape(
        count, height // _BLOCK, width // _BLOCK, _BLOCK, _BLOCK
    )
    return blocks.swapaxes(2, 3).reshape(plane.shape)


def _cosines():
    """Returns the orthonormal cosine transform of 8 numbers, [8, 8]: T.81, A.3.3."""
    k = np.arange(_BLOCK)
    matrix = np.cos(np.pi * k[:, None] * (2 * k + 1) / (2 * _BLOCK)) / 2
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def _halve(plane):
    """Averages 2 x 2 pixels of a plane [T, H, W]."""
    rows = plane[:, ::2] + plane[:, 1::2]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def _double(plane):
    """Enlarges a plane [T, H, W] twice, linearly between the centres of its pixels."""
    for axis in (1, 2):
        size = plane.shape[axis]
        before = jnp.take(plane, np.maximum(np.arange(size) - 1, 0), axis=axis)
        after = jnp.take(plane, np.minimum(np.arange(size) + 1, size - 1), axis=axis)
        halves = jnp.stack([3 * plane + before, 3 * plane + after], axis=axis + 1) / 4
        shape = list(plane.shape)
        shape[axis] = 2 * size
        plane = halves.reshape(shape)
    return plane
