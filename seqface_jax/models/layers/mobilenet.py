"""Per-frame blocks: the inverted residual of MobileNetV2 in the thesis's form, and a plain one.

Sandler et al., 2018 (arXiv:1801.04381). The thesis differs: every convolution has a bias, the
expansion is always there, squeeze-and-excite stands before the projection, and the shortcut is
only on the repeats of a block. Frames are a batch here: x is [N, H, W, C], N = B * T.
"""

import jax
from flax import linen as nn

from seqface_jax.models.layers.conv import Conv, depthwise_convolve
from seqface_jax.models.layers.norm import NORMS

SQUEEZE_RATIO = 16


class SqueezeExcite(nn.Module):
    """Weighs the channels of each frame by what the whole frame holds.

    Hu et al., 2018 (arXiv:1709.01507), without biases, as the thesis has it.
    """

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        reduced = channels // SQUEEZE_RATIO
        if reduced == 0:  # Keras's layer of no units: the sigmoid of an empty sum.
            return x * 0.5

        def dense(features, name):
            he_normal = nn.initializers.he_normal()
            return nn.Dense(features, use_bias=False, kernel_init=he_normal, name=name)

        weights = x.mean(axis=(1, 2))  # [N, C]
        weights = jax.nn.relu(dense(reduced, 'reduce')(weights))
        weights = jax.nn.sigmoid(dense(channels, 'expand')(weights))
        return x * weights[:, None, None]


class DepthwiseConv(nn.Module):
    """Convolves each channel with its own kernel; 'same' padding, extra pixel at the end.

    Attributes:
        kernel: side, in pixels.
        stride: in pixels.
    """

    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        glorot = nn.initializers.glorot_uniform()
        kernel = self.param('kernel', glorot, (self.kernel, self.kernel, 1, channels))
        bias = self.param('bias', nn.initializers.zeros, (channels,))
        return depthwise_convolve(x, kernel, self.stride) + bias


class Bottleneck(nn.Module):
    """Expands the channels, convolves each by itself, projects them down again.

    Attributes:
        features: channels of the output.
        kernel: side of the depthwise convolution, in pixels.
        stride: of the depthwise convolution, in pixels.
        expansion: channels inside, per channel of the input.
        squeeze: whether to squeeze and excite.
        residual: whether to add the input.
        norm: a name in NORMS.
        axis_name: of the devices that share one batch, or None.
    """

    features: int
    kernel: int
    stride: int
    expansion: int
    squeeze: bool
    residual: bool
    norm: str
    axis_name: str | None

    @nn.compact
    def __call__(self, x, *, train):
        def normalize(x, name):
            return NORMS[self.norm](self.axis_name, name=name)(x, train=train)

        def conv_1x1(features, name):
            return Conv(features, kernel=1, name=name)

        y = conv_1x1(x.shape[-1] * self.expansion, 'expand')(x)
        y = jax.nn.relu6(normalize(y, 'expand_norm'))
        y = DepthwiseConv(self.kernel, self.stride, name='depthwise')(y)
        y = jax.nn.relu6(normalize(y, 'depthwise_norm'))
        if self.squeeze:
            y = SqueezeExcite(name='squeeze_excite')(y)
        y = normalize(conv_1x1(self.features, 'project')(y), 'project_norm')
        return x + y if self.residual else y


class InvertedResidual(nn.Module):
    """A bottleneck, and repeats of it that add their input.

    Attributes:
        features, kernel, expansion, squeeze, norm, axis_name: as of Bottleneck.
        stride: of the first bottleneck.
        repeats: number of bottlenecks.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    expansion: int = 6
    repeats: int = 1
    squeeze: bool = True
    norm: str = 'batch'
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, train):
        for i in range(self.repeats):
            x = Bottleneck(
                features=self.features,
                kernel=self.kernel,
                stride=self.stride if i == 0 else 1,
                expansion=self.expansion,
                squeeze=self.squeeze,
                residual=i > 0,
                norm=self.norm,
                axis_name=self.axis_name,
                name=f'repeat_{i}',
            )(x, train=train)
        return x


class ConvBlock(nn.Module):
    """Convolution, normalisation, ReLU.

    Attributes:
        features: channels of the output.
        kernel, stride: in pixels.
        norm: a name in NORMS.
        axis_name: of the devices that share one batch, or None.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    norm: str = 'batch'
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, train):
        size, strides = (self.kernel, self.kernel), (self.stride, self.stride)
        x = nn.Conv(self.features, size, strides, use_bias=False, name='conv')(x)
        return jax.nn.relu(NORMS[self.norm](self.axis_name, name='norm')(x, train=train))
