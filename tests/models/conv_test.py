"""Our forms of convolutions against XLA's, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.models.layers import conv
from tests.helpers.compiling import quick_jit


def _random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _xla(x, kernel, stride, padding='SAME', groups=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=groups,
    )


def _check(ours, theirs, x, kernel):
    """Compares values and both gradients of an uneven weighing of the output."""
    weights = _random(9, *jax.eval_shape(theirs, x, kernel).shape)

    def answer(function):
        def weighed_sum(*arrays):
            output = function(*arrays)
            return (weights * output).sum(), output

        (_, output), gradients = quick_jit(jax.value_and_grad(weighed_sum, (0, 1), has_aux=True))(
            x, kernel
        )
        return output, *gradients

    for found, wanted, atol in zip(answer(ours), answer(theirs), (1e-4, 1e-3, 1e-3), strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=atol)


@pytest.mark.parametrize(
    ('size', 'stride', 'kernel', 'channels'),
    [
        ((3, 5), 1, (3, 3), 12),  # Small images are one matrix product.
        ((20, 17), 2, (1, 1), 12),
        ((20, 17), 1, (3, 3), 3),  # Larger ones have a gradient of their own.
        ((20, 17), 1, (3, 3), 12),
        ((40, 33), 2, (3, 3), 3),
        ((40, 33), 2, (3, 3), 12),
        ((40, 33), 1, (4, 2), 3),
        ((40, 33), 2, (4, 2), 12),
    ],
)
def test_a_convolution_is_that_of_xla(size, stride, kernel, channels):
    x, weights = _random(0, 2, *size, channels), _random(1, *kernel, channels, 7)
    _check(lambda x, k: conv.convolve(x, k, stride), lambda x, k: _xla(x, k, stride), x, weights)


def test_a_convolution_may_say_its_padding():
    x, kernel = _random(0, 2, 24, 21, 9), _random(1, 4, 4, 9, 5)
    pads = ((2, 1), (1, 3))
    _check(
        lambda x, k: conv.convolve(x, k, padding=pads),
        lambda x, k: _xla(x, k, 1, pads),
        x,
        kernel,
    )


@pytest.mark.parametrize('size', [(2, 2), (20, 17)])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('kernel', [3, 5])
def test_a_depthwise_convolution_is_the_grouped_one(size, stride, kernel):
    x, weights = _random(0, 2, *size, 6), _random(1, kernel, kernel, 1, 6)
    _check(
        lambda x, k: conv.depthwise_convolve(x, k, stride),
        lambda x, k: _xla(x, k, stride, groups=6),
        x,
        weights,
    )


def test_gradients_keep_the_type_of_the_parameters():
    x, kernel = _random(0, 1, 20, 20, 4), _random(1, 3, 3, 4, 4)
    half = [jnp.asarray(array, jnp.bfloat16) for array in (x, kernel)]
    gradients = jax.grad(lambda x, k: conv.convolve(x, k).astype(jnp.float32).sum(), (0, 1))(*half)
    assert [g.dtype for g in gradients] == [jnp.bfloat16] * 2
