import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax import models
from seqface_jax.models.correspondence_memory import CorrespondenceMemory, look_with_features
from seqface_jax.training import point_losses

_POINTS, _LAYOUTS = 12, 3
_CONFIG = {
    'name': 'correspondence', 'num_points': _POINTS, 'num_layouts': _LAYOUTS,
    'widths': (8, 8, 16), 'blocks': (1, 1, 1), 'hidden': 16, 'local': 8, 'local_hidden': 16,
}  # fmt: skip
_MEMORY = CorrespondenceMemory(_POINTS, _LAYOUTS, features=4, squeezed=4, hidden=8, scan_unroll=1)
_apply = jax.jit(_MEMORY.apply)
_ZEROS = (jnp.zeros((2, 2, 2, 4)), jnp.zeros((2, 2, 2, 4)))  # The state at the start.


@pytest.fixture(scope='module')
def sequences():
    """Returns maps, first answers of 2 sequences of 3 frames, layouts, and the plain answers."""
    model = models.create(_CONFIG, 32)

    @jax.jit
    def look(frames):
        (_, plain), variables = model.init_with_output(jax.random.key(1), frames, method='look')
        return *look_with_features(model, variables, frames)[1:], plain

    found = look(jax.random.uniform(jax.random.key(0), (6, 32, 32, 3)))
    first, maps, plain = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), found)
    layouts = 0.1 * jax.random.normal(jax.random.key(2), (_LAYOUTS, _POINTS, 2))
    return maps, first, layouts, plain


@pytest.fixture(scope='module')
def started(sequences):
    """Returns the variables that training starts at."""
    return jax.jit(_MEMORY.init)(jax.random.key(3), *sequences[:3])


@pytest.fixture(scope='module')
def trained(started):
    """Returns variables of which none is zero, as after some training."""
    rng = np.random.default_rng(4)
    return jax.tree.map(lambda x: x + np.float32(0.3 * rng.standard_normal(x.shape)), started)


@pytest.mark.parametrize('num_frames', [1, 3])
def test_at_the_start_the_answers_are_those_of_the_plain_network(sequences, started, num_frames):
    maps, first, layouts, plain = sequences
    maps, first, plain = jax.tree.map(lambda x: x[:, :num_frames], (maps, first, plain))
    _, answer = _apply(started, maps, first, layouts, _ZEROS)
    for found, expected in zip(answer, plain, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_scanning_a_sequence_equals_stepping_through_it(sequences, trained):
    maps, first, layouts, _ = sequences
    end, scanned = _apply(trained, maps, first, layouts, _ZEROS)
    assert np.abs(scanned.places - first.places).max() > 1e-3
    state = _ZEROS
    for t in range(maps.shape[1]):
        one = jax.tree.map(functools.partial(_frame, t=t), (maps, first))
        state, answer = _apply(trained, *one, layouts, state)
        np.testing.assert_allclose(answer.places[:, 0], scanned.places[:, t], atol=1e-5)
        np.testing.assert_allclose(answer.factor[:, 0], scanned.factor[:, t], rtol=1e-4)
    for found, expected in zip(state, end, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def _frame(values, t):
    return values[:, t : t + 1]


def test_a_frame_is_corrected_by_the_frames_up_to_it_alone(sequences, trained):
    maps, first, layouts, _ = sequences
    _, answer = _apply(trained, maps, first, layouts, _ZEROS)
    _, changed = _apply(trained, maps.at[:, 1].multiply(-1.0), first, layouts, _ZEROS)
    np.testing.assert_array_equal(answer.places[:, 0], changed.places[:, 0])
    assert np.abs(answer.places[:, 2] - changed.places[:, 2]).max() > 1e-4


def test_gradients_are_finite_and_reach_every_parameter(sequences, trained):
    maps, first, layouts, _ = sequences

    def loss(variables):
        _, answer = _MEMORY.apply(variables, maps, first, layouts)
        return jnp.mean(point_losses.point_losses(answer, first.places + 0.01)[0])

    grads = jax.jit(jax.grad(loss))(trained)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    silent = [path for path, leaf in jax.tree_util.tree_leaves_with_path(grads) if not leaf.any()]
    assert silent == []
