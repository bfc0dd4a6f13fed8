import os
import shutil
import subprocess
import sys

import pytest

from benchmarks import licences

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_ALONE = ['unshare', '--net', '--map-root-user']
_WORK = """
import socket, sys
from data_prep import prepare
from seqface_jax import train
from tests import conftest
from tests.helpers import small_raw_tree, toy_model

try:
    socket.create_connection(('1.1.1.1', 53), timeout=1)
    sys.exit('there is a network')
except OSError:
    pass
small_raw_tree.write(sys.argv[1] + '/raw', ('F001',), frames=1)
prepare.prepare('bu4dfe', sys.argv[1] + '/raw', sys.argv[1] + '/data')
conftest.write_records(sys.argv[1], splits={'train': ('F001', 'F002'), 'validation': ('F004',)})
toy_model.install()
config = toy_model.get_config(sys.argv[1])
config.train.num_epochs = 1
train.train_and_evaluate(config, sys.argv[1] + '/run')
"""


def _can_cut_the_network():
    if shutil.which('unshare') is None:
        return False
    return subprocess.run([*_ALONE, 'true'], capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not _can_cut_the_network(), reason='needs user namespaces')
def test_preparing_and_training_need_no_network(tmp_path):
    done = subprocess.run(
        [*_ALONE, sys.executable, '-c', _WORK, str(tmp_path)],
        cwd=ROOT, env=os.environ | {'JAX_PLATFORMS': 'cpu'}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert os.path.isdir(tmp_path / 'run/checkpoints/latest')
    assert os.path.isdir(tmp_path / 'data/bu4dfe/frames')


def test_every_dependency_declares_a_licence_and_none_binds_what_is_built_on_it():
    names = licences.closure(licences.ROOT, licences.EXTRAS)
    assert {'jax', 'flax', 'numpy', 'tensorflow-datasets', 'h5py'} <= set(names)
    for name in set(names) - {licences.ROOT}:
        licence = licences.licence(name)
        assert licence, name
        assert 'GPL' not in licence.replace('LGPL', ''), f'{name}: {licence}'
