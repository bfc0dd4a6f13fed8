"""Frames as a network is shown them."""

import jax.numpy as jnp

NORMALIZATIONS = ('unit', 'min_max_bgr')


def normalize_frames(frames, kind):
    """Scales frames as the network wants them, on the device.

    Args:
        frames: [..., H, W, 3] RGB, uint8 or float32 in [0, 1].
        kind: 'unit', in [0, 1]; 'min_max_bgr', each image from 0 to 1 over all its channels,
            channels reversed (the thesis's cv2.imread).

    Returns:
        float32 [..., H, W, 3].
    """
    if kind == 'unit':
        return frames / jnp.float32(255) if frames.dtype == jnp.uint8 else frames
    if kind == 'min_max_bgr':
        frames = frames[..., ::-1].astype(jnp.float32)
        low = frames.min(axis=(-3, -2, -1), keepdims=True)
        high = frames.max(axis=(-3, -2, -1), keepdims=True)
        return (frames - low) / jnp.where(high > low, high - low, 1)  # A flat image becomes 0.
    raise ValueError(f'normalization {kind!r} is not one of {NORMALIZATIONS}')
