import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from seqface_jax import models
from seqface_jax.geometry import map_grid
from seqface_jax.models import fusion
from seqface_jax.models.fields import ModelConfigError
from seqface_jax.models.fusion import Fusion
from tests.helpers.compiling import quick_jit

FIELDS = {
    'name': 'fusion',
    'encoder': {'kind': 'oriented_gradients', 'features': 4, 'stride': 4},
    'memory_features': 4,
    'memory_stride': 4,
    'feature_size': 6,
    'hidden_features': 8,
    'code_size': 3,
    'measurements': 5,
}


def random_table(rng, count):
    """Returns faces of two independent directions around a sphere of 90 mm."""
    directions = map_grid.ray_directions().astype(np.float32)
    modes = np.stack([directions[..., 0] ** 2, directions[..., 1] ** 2])
    radius = 90 + np.einsum('nk,khw->nhw', rng.normal(size=(count, 2)) * [4, 2], modes)
    maps = (radius[..., None] * directions).astype(np.float32)
    return {'position_map': maps, 'mask': np.ones(maps.shape[:3], bool)}


def sample_frames(count):
    """Returns ten frames of noise."""
    return np.random.default_rng(7).random((min(count, 10), 32, 32, 3), np.float32)


def apply(model, variables, *args, rngs=None, **options):
    """Applies a network compiled as one: op by op it takes several times as long."""
    key = repr(model), tuple(sorted(options.items()))  # A module with dicts has no hash.
    if key not in _COMPILED:
        _COMPILED[key] = quick_jit(
            lambda v, args, rngs: model.apply(v, *args, rngs=rngs, **options)
        )
    return _COMPILED[key](variables, args, rngs)


_COMPILED = {}


def random_params(model, frames):
    """Draws parameters of which none is zero."""
    params = model.init(jax.random.key(1), frames, train=False)['params']
    leaves, tree = jax.tree.flatten(params)
    noise = jax.random.normal(jax.random.key(2), (sum(leaf.size for leaf in leaves),))
    parts = jnp.split(noise, np.cumsum([leaf.size for leaf in leaves])[:-1])
    leaves = [
        leaf + 0.3 * part.reshape(leaf.shape) for leaf, part in zip(leaves, parts, strict=True)
    ]
    return jax.tree.unflatten(tree, leaves)


@pytest.fixture(scope='module')
def trained():
    """A network with random weights in every layer, its variables, and frames [2, 3, ...]."""
    model = models.create(FIELDS, 32)
    frames = jax.random.uniform(jax.random.key(0), (2, 3, 32, 32, 3))
    params = quick_jit(functools.partial(random_params, model))(frames[:1, :1])
    constants = models.constants(FIELDS, random_table(np.random.default_rng(0), 6), sample_frames)
    constants = {name: jnp.float32(value) for name, value in constants.items()}
    return model, {'params': params, 'constants': constants}, frames


def test_the_space_holds_the_training_faces_and_their_deviation_is_1_along_each_direction():
    table = random_table(np.random.default_rng(1), 20)
    constants = Fusion.make_constants(FIELDS, table, sample_frames)
    basis = constants['basis'].reshape(3, -1)
    distance = np.linalg.norm(table['position_map'], axis=-1)
    deviations = (distance - np.linalg.norm(constants['mean_map'], axis=-1)).reshape(20, -1)
    codes = deviations @ np.linalg.pinv(basis[:2])
    np.testing.assert_allclose(codes @ basis[:2], deviations, atol=1e-2)
    np.testing.assert_allclose((codes**2).mean(axis=0), 1, rtol=1e-3)
    assert np.abs(basis[2]).max() < 1e-2  # There is no third direction.


def test_what_no_scan_shows_is_the_mean_of_what_was_filled_in():
    table = random_table(np.random.default_rng(2), 4)
    table['mask'][:, 0] = False
    constants = Fusion.make_constants(FIELDS, table, sample_frames)
    assert np.isfinite(constants['mean_map']).all()
    assert np.abs(constants['basis'][:, 0]).max() == 0


def test_an_untrained_network_answers_with_the_mean_face():
    model = models.create(FIELDS, 32)
    frames = jax.random.uniform(jax.random.key(3), (1, 2, 32, 32, 3))
    variables = quick_jit(lambda: model.init(jax.random.key(4), frames, train=False))()
    constants = models.constants(FIELDS, random_table(np.random.default_rng(0), 6), sample_frames)
    variables = {'params': variables['params'], 'constants': constants}
    predicted = apply(model, variables, frames, train=False).position_map
    target = np.broadcast_to(constants['mean_map'], predicted.shape)
    np.testing.assert_allclose(predicted, target, atol=1e-4)


def test_scanning_a_sequence_equals_stepping_through_it(trained):
    model, variables, frames = trained
    scanned = apply(model, variables, frames, train=False)
    state = model.apply(variables, 2, method='initial_state')
    for t in range(frames.shape[1]):
        state, stepped = apply(model, variables, state, frames[:, t], method='step')
        np.testing.assert_allclose(scanned.position_map[:, t], stepped.position_map, atol=1e-4)
        np.testing.assert_allclose(scanned.log_variance[:, t], stepped.log_variance, atol=1e-5)


def test_the_last_answer_alone_equals_the_last_of_all(trained):
    model, variables, frames = trained
    every = apply(model, variables, frames, train=False)
    last = apply(model, variables, frames, train=False, last_only=True)
    np.testing.assert_allclose(every.position_map[:, -1:], last.position_map, atol=1e-5)


def test_the_answer_is_the_posterior_of_the_measurements(trained):
    model, variables, frames = trained
    state = model.apply(variables, 2, method='initial_state')
    state, prediction = apply(model, variables, state, frames[:, 0], method='step')
    params, constants = variables['params'], variables['constants']
    functions, precision = np.float64(params['functions']), np.float64(state['precision'][0])
    measured = np.float64(state['evidence'][0]) / precision
    noise = np.diag(1 / precision + np.log1p(np.exp(params['shared_variance'])))
    # The same by the textbook's other form: a Gaussian conditioned on y = A z + noise.
    gain = functions.T @ np.linalg.inv(functions @ functions.T + noise)
    code, covariance = gain @ measured, np.eye(3) - gain @ functions
    distance = np.einsum('k,khw->hw', code, constants['basis'])
    expected = constants['mean_map'] + distance[..., None] * map_grid.ray_directions()
    np.testing.assert_allclose(prediction.position_map[0], expected, atol=1e-4)
    basis = np.float64(constants['basis'])
    variance = np.einsum('khw,kl,lhw->hw', basis, covariance, basis) / 3
    variance += np.log1p(np.exp(params['outside_variance'])) + 0.01
    np.testing.assert_allclose(prediction.log_variance[0], np.log(variance), atol=1e-4)


def test_no_number_of_copies_makes_the_variance_that_they_share_vanish(trained):
    model, variables, _ = trained
    state = model.apply(variables, 1, method='initial_state')
    endless = state | {'precision': jnp.full_like(state['precision'], 1e6)}
    variance = jnp.exp(apply(model, variables, endless, method='read_state').log_variance)
    alone = 0.01 + nn.softplus(variables['params']['outside_variance'])
    assert (variance > alone + 1e-3).mean() > 0.9


def test_a_matrix_is_inverted_and_so_are_its_gradients():
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(4, 6, 6)) * [1, 2, 5, 10, 20, 40]
    matrix = jnp.float32(np.eye(6) + factor @ np.swapaxes(factor, 1, 2))
    expected = np.linalg.inv(np.float64(matrix))
    np.testing.assert_allclose(fusion.invert_precision(matrix), expected, atol=1e-4)
    weights = jnp.float32(rng.normal(size=matrix.shape))
    gradient = jax.grad(lambda m: (weights * fusion.invert_precision(m)).sum())(matrix)
    weights = (weights + jnp.swapaxes(weights, 1, 2)) / 2
    expected = -expected @ np.float64(weights) @ expected
    gradient = (gradient + jnp.swapaxes(gradient, 1, 2)) / 2
    np.testing.assert_allclose(gradient, expected, atol=2e-4)


def test_in_training_the_map_is_strided_and_else_the_same(trained):
    _, variables, frames = trained
    model = models.create(FIELDS | {'training_stride': 4}, 32)
    coarse = apply(model, variables, frames, train=True, rngs={'dropout': jax.random.key(0)})
    whole = apply(model, variables, frames, train=False)
    np.testing.assert_allclose(coarse.position_map, whole.position_map[:, :, ::4, ::4], atol=1e-4)
    np.testing.assert_allclose(coarse.log_variance, whole.log_variance[:, :, ::4, ::4], atol=1e-4)


def test_two_halves_joined_say_what_all_frames_say_but_for_what_was_remembered(trained):
    model, variables, frames = trained
    forget = dict(variables['params'])
    forget['novelty_hidden'] = jax.tree.map(jnp.zeros_like, forget['novelty_hidden'])
    variables = variables | {'params': forget}

    def run(part):
        state = model.apply(variables, 2, method='initial_state')
        for t in range(part.shape[1]):
            state, _ = apply(model, variables, state, part[:, t], method='step')
        return state

    joined = model.merge_states(run(frames[:, :2]), run(frames[:, 2:]))
    whole = run(frames)
    expected = apply(model, variables, whole, method='read_state').position_map
    answer = apply(model, variables, joined, method='read_state').position_map
    np.testing.assert_allclose(answer, expected, atol=1e-4)


@pytest.mark.filterwarnings('error::DeprecationWarning')
def test_a_copy_of_any_kept_view_is_no_news_and_an_old_view_is_forgotten():
    rng = np.random.default_rng(4)
    views = np.float32(rng.normal(size=(fusion.MAX_VIEWS + 1, 60)))
    sequence = np.stack([views[0], views[1], 3 * views[0], views[1], *views[2:], views[0]])
    state = {'views': jnp.zeros((1, fusion.MAX_VIEWS, 60)), 'num_views': jnp.zeros(1)}
    state, is_new = fusion.compare_views(state, sequence[None])
    np.testing.assert_array_equal(is_new[0, :4], [1, 1, 0, 0])
    assert is_new[0, 4:].min() > 0  # The last one's copy has made room for the newest view.
    assert state['num_views'] == fusion.MAX_VIEWS + 2


def test_a_frame_shown_again_changes_neither_the_answer_nor_how_sure_it_is(trained):
    model, variables, frames = trained
    state = model.apply(variables, 2, method='initial_state')
    state, once = apply(model, variables, state, frames[:, 0], method='step')
    noise = 0.001 * jax.random.normal(jax.random.key(9), frames[:, 0].shape)
    for _ in range(3):
        state, again = apply(model, variables, state, frames[:, 0] + noise, method='step')
    np.testing.assert_allclose(again.position_map, once.position_map, atol=1e-3)
    np.testing.assert_allclose(again.log_variance, once.log_variance, atol=1e-3)


def test_each_frame_lowers_the_variance(trained):
    model, variables, frames = trained
    log_variance = apply(model, variables, frames, train=False).log_variance
    assert (np.diff(log_variance, axis=1) <= 0).all()
    assert (np.diff(log_variance.mean(axis=(2, 3)), axis=1) < 0).all()


def test_the_gradient_reaches_every_parameter(trained):
    model, variables, frames = trained

    def loss(params):
        prediction = model.apply(variables | {'params': params}, frames, train=False)
        return jnp.square(prediction.position_map).mean() + prediction.log_variance.mean()

    grads = quick_jit(jax.grad(loss))(variables['params'])
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize('refinements', [0, 2])
def test_a_network_that_unwraps_faces_keeps_what_it_needs_in_its_constants(refinements):
    unwrapped = {'kind': 'unwrapped_gradients', 'features': 4, 'stride': 8}
    if refinements:
        unwrapped |= {'refinements': refinements}
    fields = FIELDS | {
        'encoder': unwrapped,
        'feature_size': 5,
        'pose_products': bool(refinements),
        'expression_size': 0,
    }
    model = models.create(fields, 32)
    constants = models.constants(fields, random_table(np.random.default_rng(0), 6), sample_frames)
    frames = jax.random.uniform(jax.random.key(3), (1, 2, 32, 32, 3))
    drawn = jax.eval_shape(lambda: model.init(jax.random.key(4), frames, train=False))
    shapes = {name: leaf.shape for name, leaf in drawn['constants'].items()}
    assert shapes == {name: np.shape(leaf) for name, leaf in constants.items()}
    assert shapes['feature_mean'] == ((4 * 4 + 16 * 16) * 4,)
    rng = np.random.default_rng(5)
    params = jax.tree.map(lambda leaf: np.float32(rng.normal(0, 0.3, leaf.shape)), drawn['params'])
    variables = {'params': params, 'constants': constants}
    prediction = apply(model, variables, frames, train=False)
    assert prediction.position_map.shape == (1, 2, 128, 128, 3)
    assert np.isfinite(prediction.position_map).all()
    assert np.abs(prediction.position_map - constants['mean_map']).max() > 1e-2


def test_rows_come_back_times_functions_of_the_pose():
    rows = np.random.default_rng(0).normal(size=(1, 3, 4)).astype(np.float32)
    turn = np.array([[[0, 0, 0.7], [0, 0.5, 0], [0.3, -9.0, 0]]], np.float32)
    plain, aside, down, squared = np.split(np.asarray(2 * fusion.turn_rows(rows, turn)), 4, axis=-1)
    np.testing.assert_allclose(plain, rows, rtol=1e-6)
    for found, factors in ((aside, (0, 1, -2)), (down, (0, 0, 1)), (squared, (-0.5, 0.5, 3.5))):
        np.testing.assert_allclose(found, rows * np.array(factors)[:, None], rtol=1e-5, atol=1e-6)


@pytest.fixture(scope='module')
def expressive(trained):
    """The network of `trained` with a head for expressions, its variables, and the same frames."""
    _, variables, frames = trained
    fields = FIELDS | {'expression_size': 2}
    model = models.create(fields, 32)
    params = quick_jit(functools.partial(random_params, model))(frames[:1, :1])
    params = params | variables['params']  # The identity's own.
    rays = map_grid.ray_directions()
    deformation = np.stack([rays[..., 0], rays[..., 1] ** 2, rays[..., 0] + rays[..., 1] ** 2])
    table = random_table(np.random.default_rng(0), 6) | {
        'deformation': np.float32(deformation),
        'deformation_mask': np.ones(deformation.shape, bool),
    }
    constants = models.constants(fields, table, sample_frames)
    return model, {'params': params, 'constants': constants}, frames


def test_a_head_for_expressions_changes_no_identity(trained, expressive):
    model, variables, frames = trained
    expected = apply(model, variables, frames, train=False)
    model, variables, _ = expressive
    found = apply(model, variables, frames, train=False)
    assert expected.frame_map is None and found.frame_map.shape == found.position_map.shape
    np.testing.assert_allclose(found.position_map, expected.position_map, atol=1e-4)


def test_the_face_of_a_frame_is_moved_along_the_rays_within_the_space_of_expressions(expressive):
    model, variables, frames = expressive
    found = apply(model, variables, frames, train=False)
    moved = np.float64(found.frame_map - found.position_map)
    along = (moved * map_grid.ray_directions()).sum(axis=-1)
    np.testing.assert_allclose(moved, along[..., None] * map_grid.ray_directions(), atol=1e-4)
    basis = np.float64(variables['constants']['expression_basis']).reshape(2, -1)
    along = along.reshape(-1, basis.shape[1])
    assert np.abs(along).max() > 0.05
    np.testing.assert_allclose(along @ np.linalg.pinv(basis) @ basis, along, atol=1e-3)


def test_an_expression_is_the_frame_s_own_whatever_was_seen_before(expressive):
    model, variables, frames = expressive
    found = apply(model, variables, frames, train=False)
    moved = found.frame_map - found.position_map
    state = model.apply(variables, 2, method='initial_state')
    _, alone = apply(model, variables, state, frames[:, 2], method='step')
    np.testing.assert_allclose(alone.frame_map - alone.position_map, moved[:, 2], atol=1e-3)
    last = apply(model, variables, frames, train=False, last_only=True)
    np.testing.assert_allclose(last.frame_map - last.position_map, moved[:, 2:], atol=1e-3)
    assert np.abs(moved[:, 0] - moved[:, 2]).max() > 0.05


def test_learning_expressions_moves_no_identity_and_reaches_the_whole_head(expressive):
    model, variables, frames = expressive

    def loss(params):
        prediction = model.apply(variables | {'params': params}, frames, train=False)
        return jnp.abs(prediction.frame_map).mean()

    grads = quick_jit(jax.grad(loss))(variables['params'])
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        is_head = path[0].key.startswith('expression')
        assert (np.abs(leaf).max() > 0) == is_head, jax.tree_util.keystr(path)


def test_an_untrained_head_answers_with_the_neutral_face(expressive):
    model, variables, frames = expressive
    params = quick_jit(lambda: model.init(jax.random.key(4), frames, train=False))()['params']
    found = apply(model, variables | {'params': params}, frames, train=False)
    np.testing.assert_allclose(found.frame_map, found.position_map, atol=1e-5)


def test_a_head_without_maps_of_frames_to_learn_from_is_named():
    with pytest.raises(ModelConfigError, match='data.frame_maps=True'):
        table = random_table(np.random.default_rng(0), 6)
        models.constants(FIELDS | {'expression_size': 2}, table, sample_frames)


def test_dropout_is_on_in_training_only(trained):
    _, variables, frames = trained
    model = models.create(FIELDS | {'dropout': 0.5}, 32)
    used = [apply(model, variables, frames, train=False).position_map for _ in range(2)]
    np.testing.assert_array_equal(*used)
    trained = apply(model, variables, frames, train=True, rngs={'dropout': jax.random.key(0)})
    assert np.abs(trained.position_map - used[0]).max() > 1e-3


@pytest.mark.parametrize(
    'fields, sentence',
    [
        ({'memory_featres': 3}, 'memory_featres'),
        ({'encoder': {'kind': 'conv_lstm', 'features': 3}}, 'oriented_gradients'),
        ({'encoder': ({'kind': 'oriented_gradients'},)}, "write a dict with 'kind'"),
        ({'training_stride': 3}, 'divisor of 128'),
        ({'encoder': {'kind': 'unwrapped_gradients', 'stride': 12}}, 'divisor of 128'),
        ({'encoder': {'kind': 'unwrapped_gradients', 'refinements': 4}}, 'choose 0 to 3'),
        ({'pose_products': True}, "of kind 'unwrapped_gradients'"),
        ({'expression_size': -1}, 'below 0'),
    ],
)
def test_a_mistake_in_the_config_is_named(fields, sentence):
    with pytest.raises(ModelConfigError, match=sentence):
        models.create(FIELDS | fields, 32)


def test_no_product_is_left_to_the_rounding_of_a_gpu(trained):
    model, variables, frames = trained
    text = jax.jit(functools.partial(model.apply, train=False)).lower(variables, frames).as_text()
    products = [line for line in text.splitlines() if 'stablehlo.dot_general' in line]
    assert products and all('precision = [HIGHEST, HIGHEST]' in line for line in products)
