import functools
import json

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from configs import bu4dfe_thesis
from seqface_jax import models
from seqface_jax.errors import UserError
from tests.helpers.compiling import quick_jit

ENCODER = (
    {'kind': 'conv_lstm', 'features': 4, 'stride': 2},
    {'kind': 'inverted_residual', 'features': 6, 'expansion': 2, 'stride': 2, 'repeats': 2},
    {'kind': 'conv_lstm', 'features': 5},
)
DECODER = (
    {'kind': 'conv_transpose', 'features': 6, 'stride': 2},
    {'kind': 'conv_transpose', 'features': 3},
)
FRAMES = np.random.default_rng(0).random((2, 3, 16, 16, 3), dtype=np.float32)


def small_config(**changes):
    fields = {'name': 'seqface', 'encoder': ENCODER, 'decoder': DECODER} | changes
    return ml_collections.ConfigDict(fields)


def apply(model, variables, frames, **kwargs):
    """Runs the network in use, compiled."""
    return quick_jit(functools.partial(model.apply, train=False, **kwargs))(variables, frames)


def init(model, frames=FRAMES):
    return quick_jit(functools.partial(model.init, train=False))(jax.random.key(0), frames)


@pytest.fixture(scope='module')
def small():
    """Returns a small network and its variables, with moving statistics that matter."""
    model = models.create(small_config(), 16)
    variables = init(model)
    variables['batch_stats'] = jax.tree.map(lambda x: 0.9 * x - 0.1, variables['batch_stats'])
    variables['constants'] = {'scale_mm': jnp.float32(70), 'offset_mm': jnp.array([1.0, 2.0, 50.0])}
    return model, variables


@pytest.fixture(scope='module')
def every(small):
    """Returns the small network's position maps after each of FRAMES."""
    return apply(*small, FRAMES).position_map


def test_there_is_an_answer_in_mm_after_every_frame(every):
    position_map = every
    assert position_map.shape == (2, 3, 8, 8, 3)
    assert (np.abs(position_map - jnp.array([1.0, 2.0, 50.0])) < 70).all()
    for one, other in (
        (position_map[0], position_map[1]),
        (position_map[:, 0], position_map[:, 1]),
    ):
        assert np.abs(one - other).max() > 0.1


def test_the_last_answer_alone_is_the_last_of_all(small, every):
    model, variables = small
    last = apply(model, variables, FRAMES, last_only=True).position_map
    np.testing.assert_allclose(last, every[:, -1:], rtol=1e-5, atol=1e-4)


def test_scanning_a_sequence_equals_stepping_through_it(small, every):
    model, variables = small
    state = model.initial_state(2)
    step = quick_jit(functools.partial(model.apply, method='step'))
    for t in range(FRAMES.shape[1]):
        state, prediction = step(variables, state, FRAMES[:, t])
        np.testing.assert_allclose(prediction.position_map, every[:, t], rtol=1e-5, atol=1e-4)
        assert prediction.log_variance is None


def test_the_initial_state_is_that_of_a_network_that_has_seen_nothing(small):
    model, variables = small
    state = model.apply(variables, 2, method='initial_state')
    step = functools.partial(model.apply, method='step')
    after, _ = jax.eval_shape(step, variables, state, FRAMES[:, 0])
    shapes = [jax.tree.map(jnp.shape, s) for s in (state, after)]
    assert shapes[0] == shapes[1]
    assert not any(leaf.any() for leaf in jax.tree.leaves(state))


def test_any_number_of_frames_runs_under_the_same_parameters(small):
    model, variables = small
    long = np.tile(FRAMES, (1, 12, 1, 1, 1))  # 36: more than are unrolled.
    short = apply(model, variables, FRAMES[:, :1]).position_map
    np.testing.assert_allclose(apply(model, variables, long).position_map[:, :1], short, atol=1e-3)


def test_the_parameters_depend_on_neither_the_size_nor_the_number_of_frames():
    def shapes(image_size, num_frames):
        model = models.create(small_config(), image_size)
        frames = jnp.zeros((1, num_frames, image_size, image_size, 3))
        variables = jax.eval_shape(lambda: model.init(jax.random.key(0), frames, train=False))
        return jax.tree.map(jnp.shape, variables)

    assert shapes(16, 1) == shapes(24, 5)


def test_gradients_reach_every_parameter_and_training_updates_the_statistics(small):
    model, variables = small
    frames = np.random.default_rng(1).random((4, 2, 16, 16, 3), dtype=np.float32)

    def loss(params):
        prediction, updates = model.apply(
            variables | {'params': params}, frames, train=True, mutable='batch_stats'
        )
        return jnp.sum(jnp.sin(prediction.position_map)), updates['batch_stats']

    gradients, batch_stats = quick_jit(jax.grad(loss, has_aux=True))(variables['params'])
    assert all(np.isfinite(g).all() and g.any() for g in jax.tree.leaves(gradients))
    changes = jax.tree.map(lambda a, b: (a != b).all(), batch_stats, variables['batch_stats'])
    assert all(jax.tree.leaves(changes))


@pytest.mark.parametrize('last_only', [False, True])
def test_going_through_parts_of_a_sequence_changes_no_gradient(small, last_only):
    encoder = (ENCODER[0], {'kind': 'conv', 'features': 5, 'stride': 2})

    def create(**changes):  # Loops as they are: unrolled ones take longer to compile.
        return models.create(
            small_config(encoder=encoder, norm='group', **changes), 16, scan_unroll=1
        )

    def loss(params, remat_frames):
        prediction = create(remat_frames=remat_frames).apply(
            {'params': params, 'constants': small[1]['constants']},
            FRAMES,
            train=True,
            last_only=last_only,
        )
        answers = prediction.position_map
        assert answers.shape[:2] == (2, 1 if last_only else 3)
        return jnp.square(answers * jnp.arange(1, answers.shape[1] + 1)[:, None, None, None]).mean()

    params = init(create())['params']
    whole, *parts = (
        quick_jit(jax.value_and_grad(loss), static_argnums=1)(params, count) for count in (0, 2, 1)
    )
    for part in parts:
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-3), whole, part
        )


def test_each_part_of_a_sequence_moves_the_statistics(small):
    model = models.create(small_config(remat_frames=1), 16)
    _, updates = quick_jit(functools.partial(model.apply, train=True, mutable='batch_stats'))(
        small[1], FRAMES
    )
    one_by_one = dict(small[1])
    state, model = None, small[0]
    for t in range(FRAMES.shape[1]):
        run = functools.partial(
            model.apply, train=True, last_only=False, mutable='batch_stats', method='_run'
        )
        (state, _), one = quick_jit(run)(one_by_one, state, FRAMES[:, t : t + 1])
        one_by_one |= one
    expected = one_by_one['batch_stats']
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        updates['batch_stats'],
        expected,
    )


def test_blocks_are_swapped_and_the_memory_moved_by_the_config():
    encoder = (
        {'kind': 'conv', 'features': 8, 'stride': 2},
        {'kind': 'conv', 'features': 8, 'kernel': 5, 'stride': 2},
        {'kind': 'conv_lstm', 'features': 5},
    )
    decoder = (
        {'kind': 'resize_conv', 'features': 4, 'stride': 2},
        {'kind': 'resize_conv', 'features': 3},
    )
    changes = {'norm': 'group', 'recurrent_activation': 'sigmoid', 'output_activation': 'linear'}
    model = models.create(small_config(encoder=encoder, decoder=decoder, **changes), 16)
    variables = init(model)
    assert set(variables) == {'params', 'constants'}
    assert list(model.initial_state(1)) == ['encoder_2_conv_lstm']
    assert apply(model, variables, FRAMES).position_map.shape == (2, 3, 8, 8, 3)


@pytest.mark.parametrize(('image_size', 'side'), [(64, 32), (128, 64), (256, 128), (250, 128)])
def test_the_thesis_map_has_half_the_side_of_the_image(image_size, side):
    model = models.create(bu4dfe_thesis.get_config().model, image_size)
    assert model.side == side
    frames = jnp.zeros((1, 1, image_size, image_size, 3))
    prediction, _ = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), frames, train=False)
    )
    assert prediction.position_map.shape == (1, 1, side, side, 3)


def test_constants_are_the_mean_centroid_and_the_mean_furthest_radius():
    square = np.array([[1.0, 1, 0], [-1, 1, 0], [1, -1, 0], [-1, -1, 0]])
    points = np.stack([3 * square + [0, 0, 10], 5 * square + [4, 0, 20]])
    constants = models.constants(small_config(), {'points': points})
    np.testing.assert_allclose(constants['scale_mm'], 4 * np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(constants['offset_mm'], [2, 0, 15])
    assert {value.dtype for value in constants.values()} == {np.dtype('float32')}


def test_a_config_builds_the_same_network_after_json():
    config = small_config()
    restored = ml_collections.ConfigDict(json.loads(config.to_json()))
    expected, after = (init(models.create(c, 16)) for c in (config, restored))
    jax.tree.map(np.testing.assert_array_equal, expected, after)


def _changed(part, index, **changes):
    layers = [dict(layer) for layer in {'encoder': ENCODER, 'decoder': DECODER}[part]]
    layers[index] |= changes
    return {part: tuple(layers)}


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'name': 'seqfase'}, "model.name is 'seqfase': choose one of"),
        ({'norms': 'batch'}, 'model has no field norms: it takes'),
        ({'norm': 'layer'}, "model.norm is 'layer': choose one of batch, group"),
        ({'output_activation': 'relu'}, 'choose one of linear, tanh'),
        ({'recurrent_activation': 'relu'}, 'choose one of hard_sigmoid, sigmoid'),
        (_changed('encoder', 0, kind='gru'), r"model.encoder\[0\].kind is 'gru'"),
        (_changed('encoder', 1, strides=2), r'model.encoder\[1\] has no field strides: it takes'),
        (_changed('decoder', 1, features=4), 'the last layer of model.decoder must have 3'),
        ({'encoder': ({'kind': 'conv_lstm'},)}, r'model.encoder\[0\] lacks features: it takes'),
        ({'encoder': (('conv_lstm', 4),)}, r'model.encoder\[0\] is .*: write a dict'),
    ],
)
def test_a_misspelt_config_says_what_is_legal(changes, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        models.create(small_config(**changes), 16)
    assert isinstance(error.value, UserError)


def test_a_config_without_a_decoder_says_so():
    with pytest.raises(ValueError, match='model lacks decoder: it takes'):
        models.create({'name': 'seqface', 'encoder': ENCODER}, 16)
