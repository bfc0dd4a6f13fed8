import os

os.environ.setdefault('KERAS_BACKEND', 'jax')  # As tests/helpers/keras_reference.py has it.

import jax
import numpy as np
import pytest

from benchmarks import correspondence_race
from seqface_jax import models
from seqface_jax.errors import UserError
from tests.helpers.compiling import quick_jit

pytestmark = pytest.mark.slow
_TINY = {
    'num_points': 12,
    'num_layouts': 3,
    'widths': (8, 8, 16),
    'blocks': (1, 2, 1),
    'hidden': 16,
    'local': 8,
    'local_hidden': 16,
}


@pytest.fixture(scope='module')
def problem():
    """Returns config, variables, a batch, and Keras's network with the same weights."""
    config = correspondence_race.make_config(4, **_TINY)
    config.data.image_size = 32
    variables, batch = correspondence_race.make_inputs(config)
    return config, variables, batch, correspondence_race.build_keras(config, variables, batch)


@pytest.fixture(scope='module')
def ours(problem):
    """Returns our step, and the loss before it."""
    return correspondence_race.our_step(*problem[:3])


@pytest.fixture(scope='module')
def keras(problem):
    """Returns the step of Keras on JAX, and the loss before it."""
    return correspondence_race.keras_step(*problem[:3], 'keras_jax')


def test_keras_answers_as_ours_does(problem):
    config, variables, batch, network = problem
    model = models.create(config.model, 32)
    look = quick_jit(lambda variables, frames: model.apply(variables, frames, method='look'))
    features, first = look(variables, batch['frames'])
    local, (places, (a, b, c), seen, face) = network.look(batch['frames'])
    np.testing.assert_allclose(local, features, atol=1e-4)
    np.testing.assert_allclose(places, first.places, atol=1e-4)
    np.testing.assert_allclose(a, first.factor[..., 0, 0], rtol=1e-3)
    np.testing.assert_allclose(c, first.factor[..., 1, 0], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(b, first.factor[..., 1, 1], rtol=1e-3)
    np.testing.assert_allclose(seen, first.seen, atol=1e-4)
    np.testing.assert_allclose(face, first.face, atol=1e-4)


def test_keras_loses_as_ours_does(ours, keras):
    assert keras[1] == pytest.approx(ours[1], rel=1e-4)


def test_both_have_as_many_parameters(problem):
    _, variables, _, network = problem
    ours = sum(np.size(leaf) for leaf in jax.tree.leaves(variables['params']))
    assert network.count_params() == ours


def test_a_step_of_keras_on_jax_lowers_the_loss_of_its_batch(keras):
    step, first = keras
    losses = [step() for _ in range(4)]
    assert losses[0] == pytest.approx(first, rel=1e-4)
    assert losses[-1] < losses[0]


def test_a_step_of_ours_is_finite(ours):
    assert np.isfinite(ours[0]())


def test_losses_that_differ_and_libraries_that_lack_are_named():
    with pytest.raises(UserError, match='graph and ours do not compute the same'):
        correspondence_race.check_losses({'ours': 1.0, 'graph': 1.01})
    correspondence_race.check_losses({'ours': 1.0, 'graph': 1.0005})
    correspondence_race.check_installation(['ours'])
