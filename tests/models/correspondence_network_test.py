import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax import models
from seqface_jax.models import correspondence_network
from tests.helpers.compiling import quick_jit

_CONFIG = {
    'name': 'correspondence', 'num_points': 12, 'num_layouts': 3, 'widths': (8, 8, 16),
    'blocks': (1, 1, 1), 'hidden': 16, 'local': 8, 'local_hidden': 16,
}  # fmt: skip


@pytest.fixture(scope='module')
def network():
    model = models.create(_CONFIG, 32)
    frames = jax.random.uniform(jax.random.key(0), (2, 32, 32, 3))
    return model, jax.jit(model.init)(jax.random.key(1), frames), frames


def test_the_answer_of_one_crop_does_not_depend_on_the_others(network):
    model, variables, frames = network
    apply = quick_jit(model.apply)
    both, alone = apply(variables, frames)[1], apply(variables, frames[1:])[1]
    np.testing.assert_allclose(both.places[1], alone.places[0], atol=1e-5)


def test_the_corrector_sees_nothing_beyond_its_window(network):
    model, variables, _ = network
    local = np.random.default_rng(3).normal(size=(1, 8, 8, 8)).astype(np.float32)
    start = jnp.array([[[0.3, 0.3]]])
    far = local.copy()
    far[:, 6:, 6:] += 5
    correct = quick_jit(functools.partial(model.apply, method='correct'))
    one, two = (correct(variables, seen, start, jnp.array([4])) for seen in (local, far))
    np.testing.assert_array_equal(one.places, two.places)


def test_read_patches_reads_a_ramp_exactly_between_cells():
    rows, columns = np.mgrid[:8, :8].astype(np.float32)
    local = np.stack([columns, rows], -1)[None]
    read = quick_jit(correspondence_network.read_patches)(local, jnp.array([[[0.5, 0.45]]]))
    read = np.asarray(read).reshape(5, 5, 2)
    np.testing.assert_allclose(read[2, 2], [3.5, 3.1], atol=1e-5)  # place * 8 - 0.5.
    np.testing.assert_allclose(read[1, 3], [4.5, 2.1], atol=1e-5)


def test_a_precision_factor_is_lower_triangular_and_positive():
    answer = jnp.array([0.3, -2.0, 0.7])
    factor = np.asarray(quick_jit(correspondence_network.precision_factor)(answer))
    assert factor[0, 1] == 0
    assert factor[0, 0] > 0
    assert factor[1, 1] > 0


def test_gradients_reach_every_parameter(network):
    model, variables, frames = network
    constants = {
        'layouts': np.ones((3, 12, 2), np.float32) * np.float32([1, 2, 3])[:, None, None],
        'layout_mean': np.full((12, 2), 0.5, np.float32),
    }

    def total(params):
        answers = model.apply({'params': params, 'constants': constants}, frames)
        return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(answers))

    grads = jax.jit(jax.grad(total))(variables['params'])
    silent = [path for path, leaf in jax.tree_util.tree_leaves_with_path(grads) if not np.any(leaf)]
    assert silent == []


def test_a_misspelt_field_is_named():
    with pytest.raises(models.fields.ModelConfigError, match='widhts'):
        models.create(_CONFIG | {'widhts': (1,)}, 32)
