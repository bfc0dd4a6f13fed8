"""The thesis's network beside live Keras: half of its channels at 64 x 64 pixels.

Its config is halved too, and compared layer by layer.

Both compute in float64: in float32 one activation that rounds to the other side of a ReLU6's corner
changes gradients by several per cent.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from configs import bu4dfe_thesis
from seqface_jax import models
from seqface_jax.checkpoints import keras_conversion
from tests.helpers.compiling import quick_jit

IMAGE_SIZE, NUM_FRAMES = 64, 2
SHARE = 2  # One in so many channels is left; a quarter would leave none to squeeze to.

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def keras_reference():
    """Returns the helper, which imports Keras: only where these tests are run."""
    from tests.helpers import keras_reference

    return keras_reference


@pytest.fixture(scope='module')
def pair(keras_reference):
    """Returns Keras's network, ours, its variables (those of Keras, in mm by 1) and frames."""
    rng = np.random.default_rng(0)
    with keras_reference.float64():
        reference = keras_reference.build(IMAGE_SIZE, NUM_FRAMES, SHARE)
        keras_reference.randomize(reference, rng)
        _, variables = keras_conversion.convert(keras_reference.read_layers(reference))
    variables['constants'] = {'scale_mm': np.float64(1), 'offset_mm': np.zeros(3)}
    model = models.create(_narrow(bu4dfe_thesis.get_config().model), IMAGE_SIZE)
    frames = rng.random((1, NUM_FRAMES, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.float32)
    return reference, model, variables, frames.astype(np.float64)


@pytest.fixture(scope='module')
def keras_training(pair, keras_reference):
    """Returns points, gradients as our parameters, our batch_stats, and those by Keras's path."""
    reference, _, _, frames = pair
    trainable = [w.value for w in reference.trainable_variables]
    fixed = [w.value for w in reference.non_trainable_variables]

    def loss(trainable):
        points, fixed_after = reference.stateless_call(trainable, fixed, frames, training=True)
        return _loss(points), (points, fixed_after)

    with keras_reference.float64():
        gradients, (points, fixed_after) = quick_jit(jax.grad(loss, has_aux=True))(trainable)
    values = {w.path: g for w, g in zip(reference.trainable_variables, gradients, strict=True)}
    after = zip(reference.non_trainable_variables, fixed_after, strict=True)
    moving = {w.path: np.asarray(value) for w, value in after}
    values |= moving
    converted = keras_conversion.convert(keras_reference.read_layers(reference, values))[1]
    return np.asarray(points), converted['params'], converted['batch_stats'], moving


@pytest.fixture(scope='module')
def our_training(pair, keras_reference):
    """Returns the first three by our network."""
    _, model, variables, frames = pair

    def loss(params):
        prediction, updates = model.apply(
            variables | {'params': params},
            frames,
            train=True,
            last_only=True,
            mutable='batch_stats',
        )
        points = prediction.position_map.reshape(len(frames), -1, 3)
        return _loss(points), (points, updates['batch_stats'])

    with keras_reference.float64():
        grad = quick_jit(jax.grad(loss, has_aux=True))
        gradients, (points, batch_stats) = grad(variables['params'])
    return jax.tree.map(np.asarray, (points, gradients, batch_stats))


def test_the_thesis_config_has_43_348_523_parameters_and_16384_points():
    model = models.create(bu4dfe_thesis.get_config().model, 256)
    frames = jnp.zeros((1, 1, 256, 256, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), frames, train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == 43_348_523
    assert model.side**2 == 16384


def test_the_config_is_the_network_that_keras_builds(pair, keras_reference):
    fields, _ = keras_conversion.convert(keras_reference.read_layers(pair[0]))
    assert models.create({'name': 'seqface'} | fields, IMAGE_SIZE).side == pair[1].side
    for part in ('encoder', 'decoder'):
        ours = [_with_defaults(layer) for layer in getattr(pair[1], part)]
        assert ours == [_with_defaults(layer) for layer in fields[part]]


def test_outputs_in_use_equal_those_of_keras(pair, keras_training, keras_reference):
    reference, model, variables, frames = pair
    moving = reference.non_trainable_variables
    # The statistics of the batch itself, so that every layer passes the signal on.
    fixed = [(keras_training[3][w.path] - 0.99 * np.asarray(w)) / 0.01 for w in moving]
    trainable = [w.value for w in reference.trainable_variables]
    call = quick_jit(reference.stateless_call)
    with keras_reference.float64():
        expected, of_darker = (
            np.asarray(call(trainable, fixed, shown)[0]) for shown in (frames, 0.3 * frames)
        )
    change = np.abs(expected - of_darker).max()
    assert change > 0.01  # Not a comparison of constants.
    values = {w.path: value for w, value in zip(moving, fixed, strict=True)}
    converted = keras_conversion.convert(keras_reference.read_layers(reference, values))[1]
    apply = quick_jit(functools.partial(model.apply, train=False, last_only=True))
    single = jax.tree.map(np.float32, (variables | converted, frames))  # As it is used.
    points = np.asarray(apply(*single).position_map).reshape(expected.shape)
    assert points.dtype == np.float32
    assert np.abs(points - expected).max() < 1e-3 * change


def test_outputs_in_training_equal_those_of_keras(our_training, keras_training):
    assert np.abs(keras_training[0]).max() > 0.1
    assert _relative_error(our_training[0], keras_training[0]) < 1e-10


def test_gradients_equal_those_of_keras(our_training, keras_training):
    ours, expected = (traverse_util.flatten_dict(g[1]) for g in (our_training, keras_training))
    assert ours.keys() == expected.keys()
    assert max(np.abs(gradient).max() for gradient in expected.values()) > 1e-3
    for path, gradient in expected.items():
        largest = np.abs(gradient).max()
        if _is_zero_by_theory(path):
            assert largest < 1e-12, path
        np.testing.assert_allclose(ours[path], gradient, atol=1e-8 * largest + 1e-12, err_msg=path)


def test_moving_statistics_equal_those_of_keras_2(pair, our_training, keras_training):
    before, ours, keras_3 = (
        traverse_util.flatten_dict(tree)
        for tree in (pair[2]['batch_stats'], our_training[2], keras_training[2])
    )
    for path, value in ours.items():
        step = keras_3[path] - 0.99 * before[path]
        if path[-1] == 'var':  # Keras 2 takes n / (n - 1) of the variance that Keras 3 takes.
            n = _values_per_channel(path)
            step *= n / (n - 1)
        np.testing.assert_allclose(value, 0.99 * before[path] + step, rtol=1e-9, atol=1e-12)


def _narrow(config_model):
    """Returns the config with a share of the channels, but for the three of the last layer."""
    for part in ('encoder', 'decoder'):
        layers = [dict(layer) for layer in config_model[part]]
        for layer in layers[: -1 if part == 'decoder' else None]:
            assert layer['features'] % SHARE == 0
            layer['features'] //= SHARE
        config_model[part] = tuple(layers)
    return config_model


def _with_defaults(layer):
    defaults = {'kernel': 4 if layer['kind'] == 'conv_transpose' else 3, 'stride': 1}
    if layer['kind'] == 'inverted_residual':
        defaults |= {'repeats': 1, 'squeeze': True}
    return defaults | layer


def _values_per_channel(path):
    first_block = path[0].startswith('encoder_1_')
    strided = path[0].startswith('encoder_6_') and path[1] == 'repeat_0'
    before_stride = strided and path[2] == 'expand_norm'
    side = 32 if first_block else 4 if before_stride else 2
    return NUM_FRAMES * side**2


def _loss(points):
    weights = np.random.default_rng(1).standard_normal(points.shape)
    return jnp.mean(points * weights)


def _relative_error(value, expected):
    return np.abs(value - expected).max() / np.abs(expected).max()


def _is_zero_by_theory(path):
    """Whether a normalisation follows on every way to the output: a shift changes nothing."""
    if path[-1] != 'bias':
        return False
    shifted_away = path[-2] in ('expand', 'depthwise', 'project')
    return shifted_away or (path[0].startswith('encoder_6_') and path[-2] == 'project_norm')
