"""Lium's network: a frontal frame and one from the side in, the frontal frame's image map out.

Lium, 2020 (olalium/face-reconstruction), 'mobilenetv2-PRN': the two images as six channels, the
encoder of MobileNetV2, the decoder of PRNet without normalisation.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqface_jax.geometry import image_space
from seqface_jax.models.layers.conv import Conv
from seqface_jax.models.layers.decoders import IMAGE_RANGE, ImageMapDecoder
from seqface_jax.models.layers.mobilenet import InvertedResidual
from seqface_jax.models.layers.norm import BatchNorm
from seqface_jax.models.prediction import Prediction
from seqface_jax.models.prnet import check_image_size
from seqface_jax.models.sequence_model import SequenceModel, unfold

# Channels, expansion, stride, repeats: Sandler et al., 2018 (arXiv:1801.04381), table 2.
_BLOCKS = (
    (16, 1, 1, 1), (24, 6, 2, 2), (32, 6, 2, 3), (64, 6, 2, 4), (96, 6, 1, 3), (160, 6, 2, 3),
    (320, 6, 1, 1),
)  # fmt: skip
_LAST_FACTOR = 32  # Channels of the code over the decoder's; 512 over 16 in the original.


class FrontSide(SequenceModel, kw_only=True):
    """Predicts the face from the first frame, the frontal one, and one more.

    After the first frame the side is not known: the frontal frame stands in its place.

    Attributes:
        width: factor on the encoder's channels; 1.2 in Lium's script.
        features: channels of the decoder's last wide layer; 16 in the original.
    """

    READS = 'pair'

    width: float = 1.2
    features: int = 16

    def initial_state(self, batch):
        """Returns the state before the first frame: no frontal frame [B, H, W, 3] yet."""
        shape = (batch, self.image_size, self.image_size, 3)
        return {'front': jnp.zeros(shape), 'has_front': jnp.zeros(batch, bool)}

    @nn.compact
    def _run(self, state, frames, *, train, last_only):
        check_image_size(self.image_size)
        state = self.initial_state(len(frames)) if state is None else state
        known = state['has_front'][:, None, None, None]
        front = jnp.where(known, state['front'], frames[:, 0])
        sides = frames[:, -1:] if last_only else frames
        fronts = jnp.broadcast_to(front[:, None], sides.shape)
        pairs = jnp.concatenate([fronts, sides], axis=-1)
        network = FrontSideNetwork(self.width, self.features, self.axis_name, name='network')
        image_map = network(pairs.reshape(-1, *pairs.shape[2:]), train=train)
        position_map = image_space.canonical(image_map, *self.mean_face())
        prediction = unfold(Prediction(position_map, image_map=image_map), *sides.shape[:2])
        state = {'front': front, 'has_front': jnp.ones_like(state['has_front'])}
        return state, prediction


class FrontSideNetwork(nn.Module):
    """Image maps [N, H, W, 3] of the first image of pairs [N, H, W, 6].

    Attributes:
        width, features, axis_name: as of FrontSide.
    """

    width: float
    features: int
    axis_name: str | None

    @nn.compact
    def __call__(self, pairs, *, train):
        x = _ConvNormRelu6(_divisible_by_8(32 * self.width), 3, 2, self.axis_name, name='stem')(
            pairs / IMAGE_RANGE, train=train
        )
        for i, (channels, expansion, stride, repeats) in enumerate(_BLOCKS):
            block = InvertedResidual(
                int(channels * self.width),
                stride=stride,
                expansion=expansion,
                repeats=repeats,
                squeeze=False,
                axis_name=self.axis_name,
                name=f'block_{i}',
            )
            x = block(x, train=train)
        code_features = _LAST_FACTOR * self.features
        if self.width > 1:
            code_features = _divisible_by_8(code_features * self.width)
        x = _ConvNormRelu6(code_features, 1, 1, self.axis_name, name='code')(x, train=train)
        return ImageMapDecoder(self.features, False, name='decoder')(x, train=train)


class _ConvNormRelu6(nn.Module):
    features: int
    kernel: int
    stride: int
    axis_name: str | None

    @nn.compact
    def __call__(self, x, *, train):
        x = Conv(self.features, self.kernel, self.stride, name='conv')(x)
        return jax.nn.relu6(BatchNorm(self.axis_name, name='norm')(x, train=train))


def _divisible_by_8(channels):
    """Rounds to a multiple of 8, not more than a tenth below; at least 8."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
