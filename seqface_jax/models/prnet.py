"""PRNet: one image in, where every point of the face lies in the image out.

Feng et al., 2018 (arXiv:1803.07835), as its published code has it. Its map covers our grid in
place of the Basel model's chart. Without a metric scale: the size in mm is the mean face's.
"""

import jax
from flax import linen as nn

from seqface_jax.geometry import face_regions, image_space
from seqface_jax.models.fields import ModelConfigError
from seqface_jax.models.layers.conv import Conv
from seqface_jax.models.layers.decoders import ImageMapDecoder
from seqface_jax.models.layers.norm import BatchNorm
from seqface_jax.models.prediction import Prediction
from seqface_jax.models.sequence_model import FrameModel

# The residual blocks: channels over those of the stem, and stride.
_BLOCKS = ((2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), (16, 1), (32, 2), (32, 1))
STRIDE = 32  # Stride of the whole encoder.


class PRNet(FrameModel, kw_only=True):
    """Predicts the image map of each frame by itself; the side of the map is that of the frame.

    Attributes:
        features: channels of the stem; 16 in the paper, and all else follows.
    """

    features: int = 16

    @nn.compact
    def answer(self, frames, *, train):
        """Returns the Prediction of frames [N, H, W, 3] in [0, 1]."""

        def norm(x, name):
            return BatchNorm(self.axis_name, name=name)(x, train=train)

        check_image_size(self.image_size)
        x = Conv(self.features, 4, use_bias=False, name='stem')(frames)
        x = jax.nn.relu(norm(x, 'stem_norm'))
        for i, (factor, stride) in enumerate(_BLOCKS):
            block = PrnetBlock(self.features * factor, stride, self.axis_name, name=f'block_{i}')
            x = block(x, train=train)
        decoder = ImageMapDecoder(self.features, True, self.axis_name, name='decoder')
        image_map = decoder(x, train=train)
        position_map = self._canonical(image_map)
        return Prediction(position_map, image_map=image_map)

    def _canonical(self, image_map):
        """Returns the position map; the neck, where PRNet's loss does not look, is the mean's."""
        is_taught = face_regions.training_weights() > 0
        return image_space.canonical(image_map, *self.mean_face(), is_taught)


class PrnetBlock(nn.Module):
    """A bottleneck of kernels 1, 4 and 1 beside a shortcut; normalised after their sum.

    Attributes:
        features: channels of the output.
        stride: in pixels.
        axis_name: of the devices that share one batch, or None.
    """

    features: int
    stride: int
    axis_name: str | None

    @nn.compact
    def __call__(self, x, *, train):
        def norm_relu(x, name):
            return jax.nn.relu(BatchNorm(self.axis_name, name=name)(x, train=train))

        def conv(features, kernel, stride, name):
            return Conv(features, kernel, stride, use_bias=False, name=name)

        shortcut = x
        if self.stride > 1 or x.shape[-1] != self.features:
            shortcut = conv(self.features, 1, self.stride, 'shortcut')(x)
        x = norm_relu(conv(self.features // 2, 1, 1, 'reduce')(x), 'reduce_norm')
        x = norm_relu(conv(self.features // 2, 4, self.stride, 'spatial')(x), 'spatial_norm')
        x = conv(self.features, 1, 1, 'expand')(x)
        return norm_relu(x + shortcut, 'norm')


def check_image_size(image_size):
    """Checks that the encoder's stride divides the frames; raises ModelConfigError."""
    if image_size % STRIDE:
        raise ModelConfigError(
            f'data.image_size is {image_size}: this model takes multiples of {STRIDE}'
        )
