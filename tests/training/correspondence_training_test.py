import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import cpu
from seqface_jax import checkpoints
from seqface_jax.checkpoints import metrics_writer
from seqface_jax.errors import UserError
from seqface_jax.training import correspondence_training
from tests.helpers import small_pictures
from tests.helpers.compiling import quick_jit


def _config(folder):
    """Returns the config of a run of 36 large steps by Muon, whose state holds Adam's too."""
    config = small_pictures.config(folder)
    config.train.num_steps, config.train.checkpoint_every_steps = 36, 12
    config.optimizer.name = 'muon'
    config.optimizer.learning_rate, config.optimizer.decay_factor = 1e-2, 1.0
    return config


@pytest.fixture(scope='module', autouse=True)
def traced_once():
    """Lets all trainings share the traced steps, which take most of a short one."""
    jit_steps, found = correspondence_training.jit_steps, {}

    def jit_once(config, model, tx):
        config = config.copy_and_resolve_references()
        config.train.start_from = ''  # No step reads where the parameters are from.
        key = config.to_json_best_effort()
        if key not in found:
            found[key] = jit_steps(config, model, tx)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correspondence_training, 'jit_steps', jit_once)
        yield


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Returns config and workdir of a run, and its parameters after the first twelve steps."""
    folder = tmp_path_factory.mktemp('whole')
    small_pictures.write(folder)
    config, workdir = _config(folder), str(folder / 'run')
    correspondence_training.train(config, workdir, stop_after=12)
    after_12 = checkpoints.load(workdir, 'latest')[2]['params']
    correspondence_training.train(config, workdir)
    return config, workdir, after_12


def test_a_stopped_training_ends_with_the_same_parameters(whole, tmp_path):
    config, _, after_12 = whole
    correspondence_training.train(config, str(tmp_path), stop_after=4)
    correspondence_training.train(config, str(tmp_path), stop_after=12)
    parts = checkpoints.load(str(tmp_path), 'latest')[2]['params']
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after_12, parts)


def test_the_loss_of_the_pictures_falls_and_every_term_is_logged(whole):
    _, workdir, _ = whole
    rows = metrics_writer.read(os.path.join(workdir, 'metrics.csv'))
    # Validation's: its pictures and starts are always the same.
    first, *_, last = [float(row['loss']) for row in rows if row['kind'] == 'validation']
    assert last < 0.95 * first
    weights = cpu.get_config().train.loss_weights
    for row in rows:
        terms = sum(weight * float(row[name]) for name, weight in weights.items())
        np.testing.assert_allclose(terms, float(row['loss']), rtol=1e-5)
    assert checkpoints.load(workdir, 'best_training')


@pytest.mark.parametrize('name', ['adam', 'muon'])
def test_an_optimizer_nears_the_least_squares(name):
    config = cpu.get_config()
    config.optimizer.update(name=name, learning_rate=0.1, weight_decay=0.0)
    tx = correspondence_training.optimizer(config)
    target = {'hidden': jnp.eye(3), 'stem': jnp.ones((3, 2))}  # Muon's, and Adam's in both.

    def loss(params):
        return optax.tree.norm(optax.tree.sub(params, target), squared=True)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    @quick_jit
    def descend(params):
        (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=100)
        return loss(params)

    zeros = jax.tree.map(jnp.zeros_like, target)
    assert descend(zeros) < 0.1 * loss(zeros)


def test_a_folder_without_points_says_what_is_missing(tmp_path):
    small_pictures.write(tmp_path)
    (tmp_path / 'points.npz').unlink()
    with pytest.raises(UserError, match='points.npz'):
        correspondence_training.train(_config(tmp_path), str(tmp_path / 'run'))


def test_a_run_begins_with_the_parameters_of_another(whole, tmp_path):
    config, workdir, _ = whole
    config = config.copy_and_resolve_references()
    config.train.start_from = workdir
    correspondence_training.train(config, str(tmp_path), stop_after=1)
    one = checkpoints.load(workdir, 'best_validation')[2]
    other = checkpoints.load(str(tmp_path), 'best_validation')[2]
    # The first step of the warm-up is far shorter than the 36 since the parameters were drawn.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), one, other)


def test_an_optimizer_that_does_not_exist_is_refused():
    config = cpu.get_config()
    config.optimizer.name = 'lion'
    with pytest.raises(UserError, match="no optimizer.name 'lion': choose of adam, muon"):
        correspondence_training.optimizer(config)
