import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.models.layers import norm
from seqface_jax.models.layers.mobilenet import (
    ConvBlock,
    DepthwiseConv,
    InvertedResidual,
    SqueezeExcite,
)
from tests.helpers.compiling import quick_jit

IMAGES = np.random.default_rng(0).normal(3, 2, (6, 4, 5, 16)).astype(np.float32)


def initial(module, *args, **options):
    """Returns the first variables, compiled as one program."""
    return quick_jit(lambda: module.init(jax.random.key(1), *args, **options))()


def apply(module, variables, images, **options):
    """Applies a module compiled as one program."""
    return quick_jit(lambda v, x: module.apply(v, x, **options))(variables, images)


def test_batch_norm_uses_the_biased_variance_and_stores_the_unbiased_one():
    module = norm.BatchNorm()
    variables = initial(module, IMAGES, train=False)
    y, updates = apply(module, variables, IMAGES, train=True, mutable='batch_stats')
    values = np.asarray(IMAGES, np.float64).reshape(-1, 16)
    mean, var = values.mean(0), values.var(0)
    np.testing.assert_allclose(
        y.reshape(-1, 16), (values - mean) / np.sqrt(var + 1e-3), rtol=1e-4, atol=1e-5
    )
    stats = updates['batch_stats']
    np.testing.assert_allclose(stats['mean'], 0.01 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats['var'], 0.99 + 0.01 * values.var(0, ddof=1), rtol=1e-6)


def test_batch_norm_keeps_its_digits_where_the_mean_is_large():
    module = norm.BatchNorm()
    variables = initial(module, IMAGES, train=False)
    y, _ = apply(module, variables, IMAGES + 1e4, train=True, mutable='batch_stats')
    assert abs(np.asarray(y).std() - 1) < 0.01


def test_batch_norm_over_devices_equals_that_of_the_whole_batch():
    alone, shared = norm.BatchNorm(), norm.BatchNorm(axis_name='batch')
    variables = initial(alone, IMAGES, train=False)
    whole = apply(alone, variables, IMAGES, train=True, mutable='batch_stats')
    over_parts = jax.vmap(
        lambda x: shared.apply(variables, x, train=True, mutable='batch_stats'), axis_name='batch'
    )
    parts = quick_jit(over_parts)(IMAGES.reshape(3, 2, *IMAGES.shape[1:]))
    np.testing.assert_allclose(parts[0].reshape(IMAGES.shape), whole[0], atol=1e-5)
    for name, value in whole[1]['batch_stats'].items():
        np.testing.assert_allclose(parts[1]['batch_stats'][name][0], value, rtol=1e-5)


def test_group_norm_is_alike_in_training_and_use():
    module = norm.GroupNorm()
    variables = initial(module, IMAGES, train=True)
    assert set(variables) == {'params'}
    train, use = (apply(module, variables, IMAGES, train=train) for train in (True, False))
    np.testing.assert_array_equal(train, use)


@pytest.mark.parametrize('stride', [1, 2])
def test_depthwise_convolution_equals_the_grouped_convolution_of_xla(stride):
    module = DepthwiseConv(kernel=3, stride=stride)
    variables = initial(module, IMAGES)
    expected = jax.lax.conv_general_dilated(
        IMAGES,
        variables['params']['kernel'],
        (stride, stride),
        'SAME',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=16,
    )
    np.testing.assert_allclose(apply(module, variables, IMAGES), expected, atol=1e-4)


def test_a_squeeze_to_no_units_halves():
    y, variables = SqueezeExcite().init_with_output(jax.random.key(1), IMAGES[..., :15])
    assert not variables
    np.testing.assert_allclose(y, IMAGES[..., :15] / 2)


def test_only_repeats_add_their_input():
    module = InvertedResidual(16, expansion=1, repeats=2)
    variables = initial(module, IMAGES, train=False)
    params = variables['params']
    for block in params.values():
        block['project_norm']['scale'] = jnp.zeros(16)  # Now a block alone gives its shift.
        block['project_norm']['bias'] = jnp.ones(16)
    y = apply(module, variables | {'params': params}, IMAGES, train=False)
    np.testing.assert_array_equal(y, 2 * np.ones_like(IMAGES))


@pytest.mark.parametrize('norm_name', ['batch', 'group'])
def test_a_conv_block_strides_and_rectifies(norm_name):
    module = ConvBlock(8, stride=2, norm=norm_name)
    y, _ = quick_jit(lambda: module.init_with_output(jax.random.key(1), IMAGES, train=True))()
    assert y.shape == (6, 2, 3, 8)
    assert y.min() == 0
