import functools
import os
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from seqface_jax import checkpoints, models, train
from seqface_jax.checkpoints import metrics_writer
from seqface_jax.data import input_pipeline
from seqface_jax.errors import UserError
from seqface_jax.training import steps
from seqface_jax.training.devices import AXIS, Devices
from seqface_jax.training.objective import sequence_losses
from seqface_jax.training.start import network_constants
from seqface_jax.training.state import Progress, create_state
from seqface_jax.training.validation import mean_losses
from tests.helpers import toy_model

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHILD = """
import os, signal, sys
from seqface_jax import checkpoints, train
from seqface_jax.data import input_pipeline
from tests.helpers import toy_model

toy_model.install()
data_dir, workdir, changes, moment = sys.argv[1:]
config = toy_model.get_config(data_dir, **eval(changes))


def die_at(owner, method, *wanted):
    original = getattr(owner, method)

    def wrapped(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        if args[:len(wanted)] == wanted and (method != 'save' or args[2]['step'] >= 8):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, method, wrapped)


if moment == 'reading':
    die_at(input_pipeline.Split, 'batch', 0, 1, 2)
elif moment == 'saving':
    die_at(checkpoints.Store, 'save', 'latest')
train.train_and_evaluate(config, workdir)
"""


def run_child(data_dir, workdir, moment='never', *, changes=None, devices=1):
    """Trains in a process of its own; returns its exit status."""
    flags = os.environ.get('XLA_FLAGS', '')  # Compiles as here: bits are compared.
    if devices > 1:
        flags += f' --xla_force_host_platform_device_count={devices}'
    environment = os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'}
    command = [
        sys.executable,
        '-c',
        CHILD,
        str(data_dir),
        str(workdir),
        repr(changes or {}),
        moment,
    ]
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=200).returncode


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    toy_model.install(monkeypatch.setattr)


def equal(a, b):
    return jax.tree.all(jax.tree.map(np.array_equal, a, b))


def curves(workdir):
    """Returns the rows of metrics.csv without the time that they took."""
    rows = metrics_writer.read(os.path.join(workdir, 'metrics.csv'))
    return [[value for name, value in row.items() if name != 'seconds'] for row in rows]


DROPOUT_AND_AVERAGE = {'dropout': 0.5, 'ema_decay': 0.9}


@pytest.fixture(scope='module')
def whole_run(tiny_records, tmp_path_factory):
    """Trains 3 epochs of 4 steps without a stop; returns config, workdir and Progress."""
    workdir = str(tmp_path_factory.mktemp('whole'))
    config = toy_model.get_config(tiny_records, **DROPOUT_AND_AVERAGE)
    with pytest.MonkeyPatch.context() as patch:
        toy_model.install(patch.setattr)
        return config, workdir, train.train_and_evaluate(config, workdir)


@pytest.mark.slow
def test_a_run_killed_while_reading_and_while_saving_ends_like_one_never_stopped(
    whole_run, tiny_records, tmp_path
):
    config, whole, _ = whole_run
    for moment in ('reading', 'saving'):
        assert run_child(tiny_records, tmp_path, moment, changes=DROPOUT_AND_AVERAGE) == -9
    train.train_and_evaluate(config, str(tmp_path))
    for which in checkpoints.WHICH:
        assert equal(checkpoints.load(tmp_path, which)[2], checkpoints.load(whole, which)[2])
        assert (
            checkpoints.read_meta(tmp_path, which)['step']
            == (checkpoints.read_meta(whole, which)['step'])
        )
    assert curves(tmp_path) == curves(whole)


def test_a_finished_run_started_again_only_reads_its_end(whole_run):
    config, workdir, progress = whole_run
    before = curves(workdir)
    assert train.train_and_evaluate(config, workdir) == progress
    assert curves(workdir) == before


def test_the_curves_have_a_row_for_every_step_and_two_for_every_epoch(whole_run):
    _, workdir, progress = whole_run
    kinds = [row[2] for row in curves(workdir)]
    epoch = ['step'] * 4 + ['training', 'validation']
    assert kinds == epoch * 3
    assert (progress.step, progress.epoch, progress.batch) == (12, 3, 0)


def test_the_best_checkpoints_hold_averaged_weights_and_their_losses(whole_run):
    _, workdir, progress = whole_run
    for which in ('validation', 'training'):
        meta = checkpoints.read_meta(workdir, f'best_{which}')
        assert meta[f'{which}_loss'] == getattr(progress, f'best_{which}')
        assert meta['step'] == 4 * meta['epoch']
    averaged, raw = (checkpoints.load(workdir, which)[2] for which in ('best_training', 'latest'))
    assert not equal(averaged['params'], raw['params'])


@pytest.mark.slow
def test_four_devices_train_like_one(tiny_records, tmp_path):
    # A large epsilon: Adam as it is divides the rounding noise of a vanishing gradient by itself.
    changes = {'augmentation': True, 'epsilon': 1e-3}
    config = toy_model.get_config(tiny_records, **changes)
    train.train_and_evaluate(config, str(tmp_path / 'one'))
    assert run_child(tiny_records, tmp_path / 'four', changes=changes, devices=4) == 0
    one, four = (checkpoints.load(tmp_path / name, 'latest')[2] for name in ('one', 'four'))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), one, four)
    losses = [[float(row[3]) for row in curves(tmp_path / name)] for name in ('one', 'four')]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_batch_that_the_devices_cannot_share_is_refused(monkeypatch):
    device = types.SimpleNamespace(platform='cpu')
    monkeypatch.setattr(jax, 'devices', lambda: [device] * 3)
    with pytest.raises(UserError, match='multiple of 3'):
        Devices(8)


def make_state(config, split):
    """Returns Devices, the mapped train_step, its state and the mapped eval_step."""
    devices = Devices(config.data.batch_size)
    model = models.create(config.model, config.data.image_size, axis_name=AXIS)
    constants = network_constants(config, split)
    state = create_state(config, model, constants, split.num_batches())
    step = devices.map(functools.partial(steps.train_step, config), num_outputs=2, donate=True)
    eval_step = devices.map(
        functools.partial(steps.eval_step, config, model), num_outputs=1, donate=False
    )
    return devices, step, devices.replicate(state), eval_step


def test_the_loss_of_one_fixed_batch_falls_to_a_quarter_in_60_steps(tiny_records):
    config = toy_model.get_config(tiny_records)
    split = input_pipeline.open_dataset(config.data).split('train')
    devices, step, state, _ = make_state(config, split)
    batch = devices.deal(split.batch(0, 0, 0), config)
    loss = []
    for _ in range(60):
        state, metrics = step(state, batch)
        loss.append(float(metrics['loss']))
    assert loss[-1] < 0.25 * loss[0]


@pytest.mark.parametrize('loss', ['masked_l1', 'index_mse'])
def test_validation_counts_every_example_once_whatever_the_batch(tiny_records, loss):
    means = []
    for batch_size in (2, 4):  # 6 sequences: without and with a filled-up last batch.
        config = toy_model.get_config(tiny_records)
        config.data.batch_size = batch_size
        config.train.loss_weights.masked_l1 = 0.0
        config.train.loss_weights[loss] = 1.0
        config.data.target = 'points' if loss == 'index_mse' else 'position_map'
        split = input_pipeline.open_dataset(config.data).split('validation')
        devices, _, state, eval_step = make_state(config, split)
        assert bool(split.batch(0, 0, split.num_batches() - 1)['weight'].all()) == (batch_size == 2)
        step = functools.partial(eval_step, state.variables(averaged=True))
        means.append(mean_losses(config, step, devices, split))
    np.testing.assert_allclose(means[0]['loss'], means[1]['loss'], rtol=1e-6)
    np.testing.assert_allclose(means[0]['error_mm'], means[1]['error_mm'], rtol=1e-6)


def test_the_likelihood_term_trains_the_variance(tiny_records):
    config = toy_model.get_config(tiny_records)
    config.train.loss_weights.gaussian_nll = 1.0
    split = input_pipeline.open_dataset(config.data).split('train')
    devices, step, state, _ = make_state(config, split)
    state, _ = step(state, devices.deal(split.batch(0, 0, 0), config))
    assert np.abs(state.params['out']['bias'].reshape(8, 8, 4)[..., 3]).min() > 0


def test_the_faces_of_frames_count_by_their_weight(tiny_records):
    config = toy_model.get_config(tiny_records)
    config.data.frame_maps, config.train.loss_weights.frame_l1 = True, 2.0
    batch = input_pipeline.open_dataset(config.data).split('train').batch(0, 0, 0)
    batch = jax.tree.map(lambda leaf: leaf[0], Devices(4).deal(batch, config))
    batch['frame_mask'] = np.ones_like(batch['frame_mask'])  # One frame has no map.
    batch['frame_map'] = np.repeat(batch['position_map'][:, None], 3, axis=1)
    batch['frame_map'] = batch['frame_map'] + np.float32([0, 0.5, 0])
    predicted = np.repeat(batch['position_map'][:, None], 3, axis=1) + 9
    moved = models.Prediction(predicted, frame_map=predicted + np.float32([0, 2, 0]))
    loss, terms, error_mm = sequence_losses(config, moved, batch, {})
    np.testing.assert_allclose(terms['frame_l1'], 1.5, rtol=1e-4)
    np.testing.assert_allclose(loss, terms['masked_l1'] + 2 * 1.5, rtol=1e-4)
    np.testing.assert_allclose(error_mm, 9 * 3**0.5, rtol=1e-4)


def test_faces_of_frames_without_maps_or_a_head_are_refused(tiny_records, tmp_path):
    config = toy_model.get_config(tiny_records)
    config.train.loss_weights.frame_l1 = 1.0
    with pytest.raises(UserError, match=r'loss_weights\.frame_l1 needs data\.frame_maps=True'):
        train.train_and_evaluate(config, str(tmp_path / 'without_maps'))
    config.data.frame_maps = True
    with pytest.raises(UserError, match='needs a network that answers with frame_map'):
        train.train_and_evaluate(config, str(tmp_path / 'without_a_head'))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(tiny_records, tmp_path):
    config = toy_model.get_config(tiny_records)
    config.optimizer.learning_rate = float('inf')
    with pytest.raises(UserError, match='not finite at step 2:'):
        train.train_and_evaluate(config, str(tmp_path))


def test_a_workdir_in_use_is_refused(tiny_records, tmp_path):
    with checkpoints.lock(str(tmp_path)):
        with pytest.raises(UserError, match='in use by another process'):
            train.train_and_evaluate(toy_model.get_config(tiny_records), str(tmp_path))


def test_a_workdir_of_another_config_is_refused(whole_run, tiny_records):
    _, workdir, _ = whole_run
    config = toy_model.get_config(tiny_records, **DROPOUT_AND_AVERAGE)
    config.train.seed, config.model.features = 1, 16
    with pytest.raises(UserError, match=r'model\.features, train\.seed differ'):
        train.train_and_evaluate(config, workdir)


def test_patience_ends_only_when_neither_loss_has_fallen():
    progress = Progress()
    stale = []
    for training, validation in ((5, 5), (6, 4), (3, 6), (3, 4), (9, float('nan')), (2, 9)):
        progress.end_epoch(training, validation)
        stale.append(progress.stale_epochs)
    assert stale == [0, 0, 0, 1, 2, 0]
    assert (progress.best_training, progress.best_validation, progress.epoch) == (2, 4, 6)


def test_something_is_due_at_its_multiples_and_never_at_every_0():
    assert [train.is_due(step, 3) for step in (1, 2, 3, 4, 6)] == [False, False, True, False, True]
    assert not train.is_due(5, 0)


def test_training_goes_on_from_another_run(whole_run, tiny_records, tmp_path):
    """With a rate of nothing: what is saved is what the other run had."""
    _, other, _ = whole_run
    config = toy_model.get_config(tiny_records, **DROPOUT_AND_AVERAGE)
    config.train.start_from, config.train.num_epochs = other, 1
    config.optimizer.learning_rate = 0.0
    train.train_and_evaluate(config, str(tmp_path))
    started, found = (
        checkpoints.load(workdir, 'best_validation')[2] for workdir in (other, str(tmp_path))
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6)  # Their average is rounded.
    jax.tree.map(close, found['params'], started['params'])
    assert equal(found['constants'], started['constants'])


def test_another_network_than_that_of_the_run_to_start_from_is_refused(
    whole_run, tiny_records, tmp_path
):
    config = toy_model.get_config(tiny_records, **DROPOUT_AND_AVERAGE)
    config.train.start_from, config.model.features = whole_run[1], 16
    with pytest.raises(UserError, match=r'start_from: the network of .* differs .* in features:'):
        train.train_and_evaluate(config, str(tmp_path))
    config.train.start_from = str(tmp_path / 'nowhere')
    with pytest.raises(UserError, match='nowhere'):
        train.train_and_evaluate(config, str(tmp_path))
