import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax import models
from seqface_jax import position_map as grid
from seqface_jax.models.fields import ModelConfigError
from seqface_jax.models.fusion import Fusion

FIELDS = {
    'name': 'fusion',
    'encoder': (
        {'kind': 'oriented_gradients', 'features': 4, 'stride': 4},
        {'kind': 'conv', 'features': 8, 'stride': 2},
    ),
    'memory_features': 4,
    'memory_stride': 2,
    'hidden_features': 8,
    'code_size': 3,
}


def random_table(rng, count):
    """Returns faces of two independent directions around a sphere of 90 mm."""
    directions = grid.ray_directions().astype(np.float32)
    modes = np.stack([directions[..., 0] ** 2, directions[..., 1] ** 2])
    radius = 90 + np.einsum('nk,khw->nhw', rng.normal(size=(count, 2)) * [4, 2], modes)
    maps = (radius[..., None] * directions).astype(np.float32)
    return {'position_map': maps, 'mask': np.ones(maps.shape[:3], bool)}


@pytest.fixture(scope='module')
def trained():
    """A network with random weights in every layer, its variables, and frames [2, 5, ...]."""
    model = models.create(FIELDS, 32)
    frames = jax.random.uniform(jax.random.key(0), (2, 5, 32, 32, 3))
    variables = model.init(jax.random.key(1), frames, train=False)
    leaves, tree = jax.tree.flatten(variables['params'])
    keys = jax.random.split(jax.random.key(2), len(leaves))
    leaves = [
        leaf + 0.3 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    constants = models.constants(FIELDS, random_table(np.random.default_rng(0), 6))
    constants = {name: jnp.float32(value) for name, value in constants.items()}
    return model, {'params': jax.tree.unflatten(tree, leaves), 'constants': constants}, frames


def test_the_space_holds_the_training_faces_and_their_deviation_is_1_along_each_direction():
    table = random_table(np.random.default_rng(1), 20)
    constants = Fusion.make_constants(FIELDS, table)
    basis = constants['basis'].reshape(3, -1)
    deviations = (table['position_map'] - constants['mean_map']).reshape(20, -1)
    codes = deviations @ np.linalg.pinv(basis[:2])
    np.testing.assert_allclose(codes @ basis[:2], deviations, atol=1e-2)
    np.testing.assert_allclose((codes**2).mean(axis=0), 1, rtol=1e-3)
    assert np.abs(basis[2]).max() < 1e-2  # There is no third direction.


def test_what_no_scan_shows_is_the_mean_of_what_was_filled_in():
    table = random_table(np.random.default_rng(2), 4)
    table['mask'][:, 0] = False
    constants = Fusion.make_constants(FIELDS, table)
    assert np.isfinite(constants['mean_map']).all()
    assert np.abs(constants['basis'][:, 0]).max() == 0


def test_an_untrained_network_answers_with_the_mean_face():
    model = models.create(FIELDS, 32)
    frames = jax.random.uniform(jax.random.key(3), (1, 2, 32, 32, 3))
    variables = model.init(jax.random.key(4), frames, train=False)
    constants = models.constants(FIELDS, random_table(np.random.default_rng(0), 6))
    variables = {'params': variables['params'], 'constants': constants}
    predicted = model.apply(variables, frames, train=False).position_map
    target = np.broadcast_to(constants['mean_map'], predicted.shape)
    np.testing.assert_allclose(predicted, target, atol=1e-4)


def test_scanning_a_sequence_equals_stepping_through_it(trained):
    model, variables, frames = trained
    scanned = model.apply(variables, frames, train=False)
    state = model.apply(variables, 2, method='initial_state')
    for t in range(frames.shape[1]):
        state, stepped = model.apply(variables, state, frames[:, t], method='step')
        np.testing.assert_allclose(scanned.position_map[:, t], stepped.position_map, atol=1e-4)
        np.testing.assert_allclose(scanned.log_variance[:, t], stepped.log_variance, atol=1e-5)


def test_the_last_answer_alone_equals_the_last_of_all(trained):
    model, variables, frames = trained
    every = model.apply(variables, frames, train=False)
    last = model.apply(variables, frames, train=False, last_only=True)
    np.testing.assert_allclose(every.position_map[:, -1:], last.position_map, atol=1e-5)


def test_each_frame_lowers_the_variance(trained):
    model, variables, frames = trained
    log_variance = model.apply(variables, frames, train=False).log_variance
    assert (np.diff(log_variance, axis=1) <= 0).all()
    assert (np.diff(log_variance.mean(axis=(2, 3)), axis=1) < 0).all()


def test_the_gradient_reaches_every_parameter(trained):
    model, variables, frames = trained

    def loss(params):
        prediction = model.apply(variables | {'params': params}, frames, train=False)
        return jnp.square(prediction.position_map).mean() + prediction.log_variance.mean()

    grads = jax.grad(loss)(variables['params'])
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


def test_dropout_is_on_in_training_only(trained):
    _, variables, frames = trained
    model = models.create(FIELDS | {'dropout': 0.5}, 32)
    used = [model.apply(variables, frames, train=False).position_map for _ in range(2)]
    np.testing.assert_array_equal(*used)
    trained = model.apply(variables, frames, train=True, rngs={'dropout': jax.random.key(0)})
    assert np.abs(trained.position_map - used[0]).max() > 1e-3


@pytest.mark.parametrize(
    'fields, sentence',
    [
        ({'memory_featres': 3}, 'memory_featres'),
        ({'encoder': ({'kind': 'conv_lstm', 'features': 3},)}, 'oriented_gradients'),
        ({'encoder': (3,)}, "write a dict with 'kind'"),
    ],
)
def test_a_mistake_in_the_config_is_named(fields, sentence):
    with pytest.raises(ModelConfigError, match=sentence):
        models.create(FIELDS | fields, 32)
