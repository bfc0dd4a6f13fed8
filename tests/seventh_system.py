"""A seventh system: ten lines, and nothing else of the program knows of it."""

from flax import linen as nn

from seqface_jax.models import Prediction
from seqface_jax.models.sequence_model import FrameModel


class ShiftedMeanFace(FrameModel, kw_only=True):
    """The mean face, shifted by a linear function of the frame's mean colour."""

    gain_mm: float

    @nn.compact
    def answer(self, frames, *, train):
        mean_map, _ = self.mean_face()
        shift = self.gain_mm * nn.Dense(3, name='shift')(frames.mean(axis=(1, 2)))
        return Prediction(mean_map + shift[:, None, None])
