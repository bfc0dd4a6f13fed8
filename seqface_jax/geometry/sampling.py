"""An image read between its pixels."""

import jax.numpy as jnp


def read(image, row, column):
    """Returns what an image shows at places, linearly between pixels; its edge goes on.

    Args:
        image: [H, W] or [H, W, C].
        row, column: [h, w], in pixels; the middle of the first one is at 0.

    Returns:
        [h, w] or [h, w, C].
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
