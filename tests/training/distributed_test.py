import functools
import os
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from seqface_jax import checkpoints, train
from seqface_jax.data import input_pipeline
from seqface_jax.errors import UserError
from seqface_jax.training import distributed
from tests.helpers import toy_model

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Devices draw dropout apart. A large epsilon: Adam divides the noise of a vanishing gradient.
CHANGES = {'augmentation': True, 'epsilon': 1e-3}
CHILD = """
import os, signal, sys
from seqface_jax.training import distributed
from seqface_jax.data import input_pipeline
from seqface_jax import train
from tests.helpers import toy_model

data_dir, workdir, port, index, dies_at = sys.argv[1:]
toy_model.install()
config = toy_model.get_config(data_dir, **CHANGES)
original = input_pipeline.Split.batch


def batch(self, seed, epoch, index, share):
    if [self.name, epoch, index] == eval(dies_at):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, seed, epoch, index, share)


input_pipeline.Split.batch = batch
with distributed.job(f'127.0.0.1:{port}', 2, int(index)):
    train.train_and_evaluate(config, workdir)
"""


def run_pair(data_dir, workdirs, second_dies_at=None):
    """Trains in two processes on loopback; returns their exit statuses and the first's stderr."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
    code = CHILD.replace('CHANGES', repr(CHANGES))
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', code, data_dir, workdirs[i], str(port), str(i)]
            + [repr(second_dies_at if i == 1 else None)],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in (0, 1)
    ]
    try:
        texts = [process.communicate()[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], texts[0]


@pytest.mark.slow
def test_two_processes_one_of_them_killed_and_both_started_again_train_like_one(
    tiny_records, tmp_path, monkeypatch
):
    workdirs = [str(tmp_path / name) for name in ('first', 'second')]
    # The second batch of the second epoch: two checkpoints are there.
    codes, text = run_pair(str(tiny_records), workdirs, ['train', 1, 3])
    assert codes == [1, -signal.SIGKILL], text
    assert 'error: another process of this job has ended' in text
    assert text.endswith('start all of them again, and the run goes on from its last checkpoint\n')
    codes, text = run_pair(str(tiny_records), workdirs)
    assert codes == [0, 0], text
    assert not os.path.exists(workdirs[1])  # Only the first writes.
    toy_model.install(monkeypatch.setattr)
    alone = str(tmp_path / 'alone')
    train.train_and_evaluate(toy_model.get_config(tiny_records, **CHANGES), alone)
    for which in checkpoints.WHICH:
        pair = [checkpoints.load(folder, which)[2] for folder in (workdirs[0], alone)]
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), *pair)


def test_the_shares_of_a_batch_make_up_the_batch(tiny_records):
    split = input_pipeline.open_dataset(toy_model.get_config(tiny_records).data).split('train')
    last = split.num_batches() - 1
    whole = split.batch(3, 1, last)
    shares = [split.batch(3, 1, last, share=(i, 2)) for i in (0, 1)]
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *shares)
    jax.tree.map(np.testing.assert_array_equal, joined, whole)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((None, 2, None), 'need --coordinator'),
        (('localhost:1', 2, None), 'give --coordinator'),
        (('localhost', 2, 0), 'give --coordinator'),
        (('localhost:1', 2, 2), 'not one of 0 to 1'),
    ],
)
def test_flags_that_do_not_fit_together_are_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        with distributed.job(*arguments):
            pass
