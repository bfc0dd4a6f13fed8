"""Layers that bring features up to the side of the map. Frames are a batch: x is [N, H, W, C]."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqface_jax.models.layers.conv import convolve, shifted_views
from seqface_jax.models.layers.norm import BatchNorm


class ConvTranspose(nn.Module):
    """The transposed convolution of Keras: the gradient of a 'same' convolution.

    Attributes:
        features: channels of the output.
        kernel: side, in pixels; the parameter is [kernel, kernel, features, C].
        stride: how much larger the output is.
        use_bias: whether to add a bias.
        kernel_init, bias_init: initializers.
    """

    features: int
    kernel: int = 4
    stride: int = 1
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.glorot_uniform()
    bias_init: Callable = nn.initializers.zeros

    @nn.compact
    def __call__(self, x):
        x = self._enlarge(x)
        if not self.use_bias:
            return x
        return x + self.param('bias', self.bias_init, (self.features,))

    def _enlarge(self, x):
        shape = (self.kernel, self.kernel, self.features, x.shape[-1])
        kernel = self.param('kernel', self.kernel_init, shape)
        if (self.kernel, self.stride) == (4, 2):
            return sub_pixel_conv_transpose(x, kernel)
        if self.stride == 1:
            before = self.kernel // 2
            pads = (before, self.kernel - 1 - before)
            return convolve(x, _forward_kernel(kernel), padding=(pads, pads))
        strides = (self.stride, self.stride)
        return jax.lax.conv_transpose(x, kernel, strides, 'SAME', transpose_kernel=True)


def sub_pixel_conv_transpose(x, kernel):
    """Computes the transposed convolution of kernel 4 and stride 2 without inserting zeros.

    Each of the 2 x 2 phases of the output is a 2 x 2 convolution of the input (Shi et al., 2016,
    arXiv:1609.07009); one matrix product of every pixel's 2 x 2 neighbourhood computes the four.
    Both forms that call XLA's convolution, this one and the dilated one, have kernel gradients
    about 100 times slower on the CPU.

    Args:
        x: [N, H, W, C].
        kernel: [4, 4, features, C], as Keras stores it.

    Returns:
        [N, 2 H, 2 W, features].
    """
    count, height, width, channels = x.shape
    corners = shifted_views(x, (2, 2), padding=((1, 1), (1, 1)))
    neighbourhood = jnp.concatenate(corners, axis=-1)  # [N, H + 1, W + 1, 4 C]
    forward = _forward_kernel(kernel)
    phases = [forward[p::2, q::2] for p in (0, 1) for q in (0, 1)]  # Each [2, 2, C, features].
    y = neighbourhood @ jnp.concatenate(phases, axis=-1).reshape(4 * channels, -1)
    y = y.reshape(count, height + 1, width + 1, 2, 2, -1)  # The last axes: p, q, features.
    rows = [
        jnp.stack([y[:, p : p + height, q : q + width, p, q] for q in (0, 1)], axis=3)
        for p in (0, 1)
    ]  # Each [N, H, W, 2, features].
    return jnp.stack(rows, axis=2).reshape(count, 2 * height, 2 * width, -1)


class ResizeConv(nn.Module):
    """Enlarges, then convolves: no checkerboard.

    Odena et al., 2016, "Deconvolution and checkerboard artifacts".

    Attributes:
        features: channels of the output.
        kernel: side, in pixels.
        stride: how much larger the output is.
    """

    features: int
    kernel: int = 3
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        if self.stride > 1:
            count, height, width, channels = x.shape
            shape = (count, self.stride * height, self.stride * width, channels)
            x = jax.image.resize(x, shape, 'bilinear')
        return nn.Conv(self.features, (self.kernel, self.kernel), name='conv')(x)


# Layers of PRNet's decoder: channels over those of the image side, and stride.
_PRNET_LAYERS = (
    (32, 1), (16, 2), (16, 1), (16, 1), (8, 2), (8, 1), (8, 1), (4, 2), (4, 1), (4, 1), (2, 2),
    (2, 1), (1, 2), (1, 1),
)  # fmt: skip
_NUM_LAST = 3  # Layers of 3 channels at the end.
_OPEN = 2.0  # Bias of their norm at the start, in standard deviations.
_OPEN_RAW = 4.0  # Bias of the first of them without norm, which the last one takes away again.
_NOISE = 0.3  # Scale of what is drawn beside the identity, over that of other kernels.
# Largest answer, in image widths: a face may reach beyond the right edge of its image.
IMAGE_RANGE = 1.1


class ImageMapDecoder(nn.Module):
    """The decoder of PRNet: 17 transposed convolutions of kernel 4, 32 times larger.

    Feng et al., 2018 (arXiv:1803.07835). Its last hidden layers have 3 channels only: what one of
    them loses there is a coordinate lost. So they start as next to the identity, and above 0, where
    the rectifier keeps them; drawn as the others, PRNet's x was not learnt in 900 steps.

    Attributes:
        features: channels of the last wide layer; 16 in PRNet.
        is_normalized: whether over the batch, and no layer has a bias; not in Lium, 2020.
        axis_name: of the devices that share one batch, or None.
    """

    features: int
    is_normalized: bool
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, *, train):
        """Returns image maps [N, 32 h, 32 w, 3] in [0, IMAGE_RANGE], of features [N, h, w, C]."""
        layers = [(self.features * factor, stride) for factor, stride in _PRNET_LAYERS]
        layers += [(3, 1)] * _NUM_LAST
        first, last = len(_PRNET_LAYERS), len(layers) - 1  # They have 3 channels.
        # Above the rectifier's 0; normalised anew in each layer, or else until the last one.
        open_norms = dict.fromkeys(range(first, last), _OPEN)
        open_biases = {first: _OPEN_RAW, last: -_OPEN_RAW}
        for i, (features, stride) in enumerate(layers):
            options = {'stride': stride, 'use_bias': not self.is_normalized}
            hands_on = x.shape[-1] == features == 3
            options['kernel_init'] = _near_identity if hands_on else _keeps_variance(stride)
            options['bias_init'] = nn.initializers.constant(open_biases.get(i, 0.0))
            x = ConvTranspose(features, **options, name=f'layer_{i}')(x)
            if self.is_normalized:
                bias = open_norms.get(i, 0.0)
                x = BatchNorm(self.axis_name, bias, name=f'norm_{i}')(x, train=train)
            x = jax.nn.relu(x) if i < last else jax.nn.sigmoid(x)
        return IMAGE_RANGE * x


def _near_identity(key, shape, dtype=jnp.float32):
    """Draws a kernel of ConvTranspose that hands on its channels, and a little of the others."""
    noise = _NOISE * nn.initializers.glorot_uniform()(key, shape, dtype)
    return noise.at[1, 1].add(jnp.eye(shape[2], shape[3], dtype=dtype))


def _keeps_variance(stride):
    """Returns the initializer of He et al., 2015 (arXiv:1502.01852), for a ConvTranspose.

    Of its kernel's pixels every stride-th meets an input in each direction. Keras's initializer,
    whose answers are a few times smaller in each layer, leaves Lium's 17 with next to nothing.
    """
    return nn.initializers.variance_scaling(
        2.0 * stride**2, 'fan_in', 'truncated_normal', in_axis=-1, out_axis=-2
    )


def _forward_kernel(kernel):
    """Turns [kernel, kernel, features, C] into the [kernel, kernel, C, features] of `convolve`."""
    return kernel[::-1, ::-1].swapaxes(2, 3)
