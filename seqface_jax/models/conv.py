"""Convolutions with the 'same' padding of Keras: the extra pixel of an odd padding at the end.

Images are [N, H, W, C], kernels [height, width, C, features].
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

# Outputs up to this many pixels are computed as one matrix product: on the CPU XLA's convolution is
# up to 80 times slower on a 2 x 2 image of 512 channels, twice at 8 x 8, and equal from about here.
MAX_MATMUL_PIXELS = 16 * 16


class Conv(nn.Module):
    """A convolution with 'same' padding, fast on the CPU for small images too.

    Attributes:
        features: channels of the output.
        kernel, stride: in pixels.
        use_bias: whether to add a bias.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        x = convolve(x, self.param('kernel', nn.initializers.glorot_uniform(), shape), self.stride)
        if not self.use_bias:
            return x
        return x + self.param('bias', nn.initializers.zeros, (self.features,))


def convolve(x, kernel, stride=1, padding=None):
    """Convolves images with a kernel.

    Args:
        x: [N, H, W, C].
        kernel: [height, width, C, features].
        stride: in pixels.
        padding: ((top, bottom), (left, right)), or None for 'same'.

    Returns:
        [N, H', W', features], with H' = H / stride rounded up if the padding is 'same'.
    """
    views = shifted_views(x, kernel.shape[:2], stride, padding)
    if views[0].shape[1] * views[0].shape[2] <= MAX_MATMUL_PIXELS:
        return jnp.concatenate(views, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        'SAME' if padding is None else padding,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )


def shifted_views(x, size, stride=1, padding=None):
    """Returns what each entry of a kernel sees.

    Args:
        x: [N, H, W, C].
        size: height and width of the kernel.
        stride, padding: as of `convolve`.

    Returns:
        height * width arrays [N, H', W', C], in the order of the kernel's rows and columns.
    """
    strides = (stride, stride)
    if padding is None:
        padding = jax.lax.padtype_to_pads(x.shape[1:3], size, strides, 'SAME')
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    counts = [(x.shape[1 + axis] - size[axis]) // stride + 1 for axis in (0, 1)]

    def window(axis, start):
        return slice(start, start + (counts[axis] - 1) * stride + 1, stride)

    return [
        x[:, window(0, row), window(1, column)]
        for row in range(size[0])
        for column in range(size[1])
    ]
