"""Layers that bring features up to the side of the map. Frames are a batch: x is [N, H, W, C]."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqface_jax.models.conv import convolve, shifted_views


class ConvTranspose(nn.Module):
    """The transposed convolution of Keras: the gradient of a 'same' convolution.

    Attributes:
        features: channels of the output.
        kernel: side, in pixels; the parameter is [kernel, kernel, features, C].
        stride: how much larger the output is.
    """

    features: int
    kernel: int = 4
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel, self.kernel, self.features, x.shape[-1])
        kernel = self.param('kernel', nn.initializers.glorot_uniform(), shape)
        bias = self.param('bias', nn.initializers.zeros, (self.features,))
        if (self.kernel, self.stride) == (4, 2):
            return sub_pixel_conv_transpose(x, kernel) + bias
        if self.stride == 1:
            before = self.kernel // 2
            pads = (before, self.kernel - 1 - before)
            return convolve(x, _forward_kernel(kernel), padding=(pads, pads)) + bias
        strides = (self.stride, self.stride)
        return jax.lax.conv_transpose(x, kernel, strides, 'SAME', transpose_kernel=True) + bias


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


def _forward_kernel(kernel):
    """Turns [kernel, kernel, features, C] into the [kernel, kernel, C, features] of `convolve`."""
    return kernel[::-1, ::-1].swapaxes(2, 3)
