"""An image read between its pixels."""

import jax.numpy as jnp
import numpy as np


def read(image, row, column):
    """Returns what an image shows at places, linearly between pixels; its edge goes on.

    Args:
        image: [H, W] or [H, W, C].
        row, column: [...], in pixels; the middle of the first one is at 0.

    Returns:
        [...] or [..., C].
    """
    height, width = image.shape[:2]
    row, column = jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)
    top = jnp.clip(jnp.floor(row), 0, height - 2).astype(jnp.int32)
    left = jnp.clip(jnp.floor(column), 0, width - 2).astype(jnp.int32)
    below, right = row - top, column - left
    if image.ndim == 3:
        below, right = below[..., None], right[..., None]
    pixels = image.reshape(height * width, *image.shape[2:])
    first = top * width + left
    upper = pixels[first] * (1 - right) + pixels[first + 1] * right
    lower = pixels[first + width] * (1 - right) + pixels[first + width + 1] * right
    return upper * (1 - below) + lower * below


def sample_texture(texture, uv):
    """Returns the colour of a texture at uv [V, 2], [V, 3] uint8, bilinear."""
    import cv2  # Not needed on the device.

    height, width = texture.shape[:2]
    x = (uv[:, 0] * width - 0.5).astype(np.float32)
    y = ((1 - uv[:, 1]) * height - 0.5).astype(np.float32)
    rows = max(1, -(-len(x) // 1024))  # OpenCV wants maps shorter than 32768, and not empty.
    x, y = (np.resize(values, (rows, 1024)) for values in (x, y))
    colors = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return colors.reshape(-1, 3)[: len(uv)]
