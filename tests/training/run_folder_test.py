import os

import numpy as np
import pytest

from seqface_jax import checkpoints
from seqface_jax.checkpoints import metrics_writer
from seqface_jax.errors import UserError
from seqface_jax.training import distributed, run_folder
from seqface_jax.training.run_folder import RunFolder
from seqface_jax.training.state import Progress
from tests.helpers import toy_model


@pytest.fixture
def begun(monkeypatch):
    """Makes every restoring of a run its beginning."""
    monkeypatch.setattr(run_folder, 'restore', lambda store, state: (state, Progress(step=3)))


def test_curves_hold_the_terms_and_nothing_that_is_not_drawn(begun, tmp_path):
    config = toy_model.get_config('data')
    with RunFolder(str(tmp_path), config, ['masked_l1']) as folder:
        _, progress = folder.restore(None)
        values = {'loss': 2.0, 'error_mm': 1.5, 'masked_l1': 2.0, 'squared_error': 9.0}
        folder.log('step', progress, values)
    (row,) = metrics_writer.read(tmp_path / 'metrics.csv')
    assert (row['step'], row['epoch'], row['masked_l1']) == ('3', '1', '2.0')
    assert 'squared_error' not in row


def test_a_best_checkpoint_says_the_losses_of_its_epoch(begun, tmp_path):
    config = toy_model.get_config('data')
    with RunFolder(str(tmp_path), config, []) as folder:
        _, progress = folder.restore(None)
        variables = {'params': {'kernel': np.ones(2)}}
        folder.save_best('best_training', variables, progress, {'loss': 1.0}, {'loss': 2.0})
    meta = checkpoints.read_meta(str(tmp_path), 'best_training')
    assert (meta['training_loss'], meta['validation_loss'], meta['step']) == (1.0, 2.0, 3)


def test_while_a_run_trains_no_other_may_and_afterwards_one_may(begun, tmp_path):
    config = toy_model.get_config('data')
    with RunFolder(str(tmp_path), config, []):
        with pytest.raises(UserError, match='in use by another process'):
            RunFolder(str(tmp_path), config, [])
    with RunFolder(str(tmp_path), config, []):
        pass


def test_a_process_that_is_not_the_first_writes_nothing(begun, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, 'is_first', lambda: False)
    with RunFolder(str(tmp_path), toy_model.get_config('data'), []) as folder:
        _, progress = folder.restore(None)
        folder.log('step', progress, {'loss': 1.0})
        folder.save_best('best_training', {}, progress, {'loss': 1.0}, {'loss': 2.0})
    assert os.listdir(tmp_path) == []
