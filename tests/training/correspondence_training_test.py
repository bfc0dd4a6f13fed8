import jax
import numpy as np
import pytest

from configs import cpu
from seqface_jax import checkpoints
from seqface_jax.checkpoints import metrics_writer
from seqface_jax.errors import UserError
from seqface_jax.training import correspondence_training
from tests.helpers import small_pictures


def _config(folder, steps):
    config = small_pictures.config(folder)
    config.train.num_steps, config.train.checkpoint_every_steps = steps, max(2, steps // 4)
    return config


@pytest.fixture(scope='module', autouse=True)
def traced_once():
    """Lets trainings of one config share the traced steps, which take most of a short one."""
    jit_steps, found = correspondence_training.jit_steps, {}

    def jit_once(config, model, tx):
        key = config.to_json_best_effort()
        if key not in found:
            found[key] = jit_steps(config, model, tx)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correspondence_training, 'jit_steps', jit_once)
        yield


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Returns config and workdir of a run of four steps by Muon, whose state holds Adam's too."""
    folder = tmp_path_factory.mktemp('whole')
    small_pictures.write(folder)
    config = _config(folder, 4)
    config.optimizer.name = 'muon'
    correspondence_training.train(config, str(folder / 'run'))
    return config, str(folder / 'run')


def test_a_stopped_training_ends_with_the_same_parameters(whole, tmp_path):
    config, workdir = whole
    correspondence_training.train(config, str(tmp_path), stop_after=2)
    correspondence_training.train(config, str(tmp_path))
    whole, parts = (
        checkpoints.load(folder, 'latest')[2]['params'] for folder in (workdir, str(tmp_path))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole, parts)


def test_the_loss_of_the_pictures_falls_and_every_term_is_logged(tmp_path):
    small_pictures.write(tmp_path)
    correspondence_training.train(_config(tmp_path, 60), str(tmp_path / 'run'))
    rows = metrics_writer.read(tmp_path / 'run' / 'metrics.csv')
    own = [row for row in rows if row['kind'] == 'training']
    assert float(own[-1]['loss']) < 0.8 * float(own[0]['loss'])
    weights = cpu.get_config().train.loss_weights
    for row in rows:
        terms = sum(weight * float(row[name]) for name, weight in weights.items())
        np.testing.assert_allclose(terms, float(row['loss']), rtol=1e-5)
    assert checkpoints.load(str(tmp_path / 'run'), 'best_training')


def test_a_folder_without_points_says_what_is_missing(tmp_path):
    small_pictures.write(tmp_path)
    (tmp_path / 'points.npz').unlink()
    with pytest.raises(UserError, match='points.npz'):
        correspondence_training.train(_config(tmp_path, 2), str(tmp_path / 'run'))


def test_a_run_begins_with_the_parameters_of_another(whole, tmp_path):
    small_pictures.write(tmp_path)
    config = _config(tmp_path, 2)
    config.train.start_from, config.optimizer.name = whole[1], 'adam'
    config.optimizer.learning_rate = 0.0
    correspondence_training.train(config, str(tmp_path / 'second'))
    one, other = (
        checkpoints.load(workdir, 'best_validation')[2]
        for workdir in (whole[1], str(tmp_path / 'second'))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one, other)


def test_an_optimizer_that_does_not_exist_is_refused(tmp_path):
    config = _config(tmp_path, 2)
    config.optimizer.name = 'lion'
    with pytest.raises(UserError, match=r"optimizer.name is 'lion': choose one of adam, muon"):
        correspondence_training.optimizer(config)
