"""Convolutions with the 'same' padding of Keras: the extra pixel of an odd padding at the end.

Images are [N, H, W, C], kernels [height, width, C, features].
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

# Outputs up to this many pixels are computed as one matrix product: on the CPU XLA's convolution is
# up to 80 times slower on a 2 x 2 image of 512 channels, twice at 8 x 8, and equal from about here.
MAX_MATMUL_PIXELS = 16 * 16
MIN_MATMUL_CHANNELS = 8  # With fewer, the views of a row of the kernel share one matrix product.


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
    if kernel.shape[:2] == (1, 1) and padding is None:
        return x[:, ::stride, ::stride] @ kernel[0, 0]
    views = shifted_views(x, kernel.shape[:2], stride, padding)
    if views[0].shape[1] * views[0].shape[2] <= MAX_MATMUL_PIXELS:
        return jnp.concatenate(views, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])
    on_cpu = jax.default_backend() == 'cpu'
    return (convolve_with_own_gradient if on_cpu else convolve_by_xla)(x, kernel, stride, padding)


def convolve_by_xla(x, kernel, stride=1, padding=None):
    """The same as `convolve`, whatever the size of image and kernel."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        'SAME' if padding is None else padding,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_with_own_gradient(x, kernel, stride=1, padding=None):
    """The same as `convolve_by_xla`; the kernel's gradient is matrix products, one for each view.

    XLA writes that gradient as a convolution whose kernel is as large as the image, for which the
    CPU takes three times as long at 128 x 128 pixels of 32 channels.
    """
    return convolve_by_xla(x, kernel, stride, padding)


def _forward(x, kernel, stride, padding):
    return convolve_by_xla(x, kernel, stride, padding), (x, kernel)


def _backward(stride, padding, residuals, gradient):
    x, kernel = residuals
    (d_x,) = jax.vjp(lambda x: convolve_by_xla(x, kernel, stride, padding), x)[1](gradient)
    views = shifted_views(x, kernel.shape[:2], stride, padding)
    if x.shape[-1] < MIN_MATMUL_CHANNELS:
        width = kernel.shape[1]
        rows = [views[start : start + width] for start in range(0, len(views), width)]
        views = [jnp.concatenate(row, axis=-1) for row in rows]
    gradient = gradient.reshape(-1, gradient.shape[-1])
    products = [view.reshape(-1, view.shape[-1]).T @ gradient for view in views]
    return d_x, jnp.concatenate(products).reshape(kernel.shape)


convolve_with_own_gradient.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_convolve(x, kernel, stride=1):
    """Convolves each channel with its own kernel; 'same' padding.

    Written as a sum of shifted images: on the CPU 3 to 30 times faster than XLA's grouped
    convolution, elsewhere one fused kernel. Its gradient makes the shifted images again, in place
    of keeping nine of them for each one.

    Args:
        x: [N, H, W, C].
        kernel: [height, width, 1, C].
        stride: in pixels.

    Returns:
        [N, H / stride, W / stride, C], rounded up.
    """
    return _weighted_sum(shifted_views(x, kernel.shape[:2], stride), kernel)


def _depthwise_forward(x, kernel, stride):
    return depthwise_convolve(x, kernel, stride), (x, kernel)


def _depthwise_backward(stride, residuals, gradient):
    x, kernel = residuals

    def views_of(x):
        return shifted_views(x, kernel.shape[:2], stride)

    (d_x,) = jax.vjp(lambda x: _weighted_sum(views_of(x), kernel), x)[1](gradient)
    d_kernel = jnp.stack([(view * gradient).sum((0, 1, 2)) for view in views_of(x)])
    return d_x, d_kernel.reshape(kernel.shape)


depthwise_convolve.defvjp(_depthwise_forward, _depthwise_backward)


def _weighted_sum(views, kernel):
    weights = kernel.reshape(len(views), -1)
    terms = [view * weight for view, weight in zip(views, weights, strict=True)]
    return sum(terms[1:], terms[0])


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
