"""Random colours, erased patches and noise on frames, on the device."""

import jax
import jax.numpy as jnp


def damage(key, frames):
    """Returns frames [B, S, S, 3] in [0, 1] with random light, colour, patches and noise."""
    batch, size = frames.shape[:2]
    keys = jax.random.split(key, 10)
    gain = jnp.exp(0.25 * jax.random.normal(keys[0], (batch, 1, 1, 1)))
    color = jnp.exp(0.12 * jax.random.normal(keys[1], (batch, 1, 1, 3)))
    offset = 0.08 * jax.random.normal(keys[2], (batch, 1, 1, 1))
    frames = (frames - 0.5) * gain * color + 0.5 + offset
    grey = jnp.mean(frames, -1, keepdims=True)
    is_grey = jax.random.bernoulli(keys[3], 0.1, (batch, 1, 1, 1))
    frames = jnp.where(is_grey, grey, frames)
    # A patch of one colour in a third of the frames.
    center = jax.random.uniform(keys[4], (batch, 2, 1)) * size
    half = jax.random.uniform(keys[5], (batch, 2, 1), minval=0.03, maxval=0.2) * size
    inside = jnp.abs(jnp.arange(size) - center) < half
    patch = inside[:, 0, :, None] & inside[:, 1, None, :]
    patch = patch & jax.random.bernoulli(keys[6], 0.33, (batch, 1, 1))
    paint = jax.random.uniform(keys[7], (batch, 1, 1, 3))
    frames = jnp.where(patch[..., None], paint, frames)
    strength = 0.03 * jnp.square(jax.random.normal(keys[8], (batch, 1, 1, 1)))
    noise = jax.random.normal(keys[9], frames.shape)
    return jnp.clip(frames + strength * noise, 0.0, 1.0)
