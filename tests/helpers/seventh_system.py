"""A seventh system in ten lines and an eighth: nothing else of the program knows of them."""

import jax.numpy as jnp
from flax import linen as nn

from seqface_jax.geometry import image_space
from seqface_jax.models import Prediction
from seqface_jax.models.sequence_model import FrameModel, SequenceModel


class ShiftedMeanFace(FrameModel, kw_only=True):
    """The mean face, shifted by a linear function of the frame's mean colour."""

    gain_mm: float

    @nn.compact
    def answer(self, frames, *, train):
        mean_map, _ = self.mean_face()
        shift = self.gain_mm * nn.Dense(3, name='shift')(frames.mean(axis=(1, 2)))
        return Prediction(mean_map + shift[:, None, None])


class ShiftedPair(SequenceModel, kw_only=True):
    """An eighth, of pairs, in image space: the same shift of all points, of the first frame."""

    READS = 'pair'

    def initial_state(self, batch):
        return jnp.zeros((batch, 3))

    @nn.compact
    def _run(self, state, frames, *, train, last_only):
        colour = frames.mean(axis=(2, 3))  # [B, T, 3]
        front = colour[:, 0] if state is None else jnp.where(state == 0, colour[:, 0], state)
        seen = colour[:, -1:] if last_only else colour
        pair = jnp.concatenate([jnp.broadcast_to(front[:, None], seen.shape), seen], axis=-1)
        mean_map, mean_mask = self.mean_face()
        shift = nn.Dense(3, name='shift')(pair)[:, :, None, None]
        placed = mean_map * jnp.array([1, -1, 1]) / 200 + shift
        position_map = image_space.canonical(placed, mean_map, mean_mask)
        return front, Prediction(position_map, image_map=placed)
