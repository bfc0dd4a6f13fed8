import ast
import errno
import os
import pathlib
import re

import numpy as np
import pytest

from data_prep.work import work_files
from seqface_jax import checkpoints, errors
from tests.helpers import syntax_trees


def test_a_full_disk_ends_with_one_sentence_whatever_library_met_it(capsys):
    for error in (
        OSError(errno.ENOSPC, 'No space left on device'),
        OSError(errno.EROFS, 'Read-only file system'),
        ValueError("RESOURCE_EXHAUSTED: Failed to write 9 bytes: No space left on device [28']"),
        RuntimeError('write() failed: Disk quota exceeded; writing x'),
    ):

        @errors.exit_on_user_error
        def main(argv, error=error):
            raise error

        with pytest.raises(SystemExit):
            main([])
        sentence = capsys.readouterr().err
        assert sentence.startswith('error: cannot write to the disk (')
        assert sentence.count('\n') == 1


@pytest.mark.parametrize(
    'error, words',
    [
        (MemoryError(), 'memory ran out'),
        (
            RuntimeError('RESOURCE_EXHAUSTED: Out of memory while trying to allocate'),
            'memory ran out',
        ),
        (RuntimeError("Unable to initialize backend 'cuda': x"), 'JAX cannot use the device'),
    ],
)
def test_a_missing_device_and_memory_that_runs_out_end_with_one_sentence(error, words, capsys):
    @errors.exit_on_user_error
    def main(argv):
        raise ValueError('while loading') from error

    with pytest.raises(SystemExit):
        main([])
    sentence = capsys.readouterr().err
    assert words in sentence and sentence.count('\n') == 1


def test_no_message_advises_to_delete_anything():
    root = pathlib.Path(__file__).parents[2]
    advice = re.compile(
        r'\b(delete|remove|rm -r\w*|wipe) (it|that|this|the (folder|run|file))\b', re.I
    )
    found = []
    for path in [
        *root.glob('*.py'),
        *root.glob('seqface_jax/**/*.py'),
        *root.glob('data_prep/**/*.py'),
    ]:
        for call in ast.walk(syntax_trees.read(path)):
            if isinstance(call, ast.Call) and 'Error' in ast.unparse(call.func):
                found += [path.name] if advice.search(ast.unparse(call)) else []
    assert not found


def test_other_errors_are_not_hidden():
    @errors.exit_on_user_error
    def main(argv):
        raise ValueError('of the program')

    with pytest.raises(ValueError, match='of the program'):
        main([])


@pytest.fixture
def small_disk():
    """Returns a folder on a disk of 2 MB; only root of Linux can make one."""
    folder = os.environ.get('SEQFACE_SMALL_DISK')
    if folder is None:
        pytest.skip('benchmarks/torture/full_disk.sh runs this on a small disk')
    return folder


def test_a_full_disk_leaves_the_last_work_file_and_checkpoint(small_disk):
    path = os.path.join(small_disk, 'x.npz')
    work_files.save(path, 'good', {'x': np.zeros(10_000)})
    with pytest.raises(OSError) as caught:
        work_files.save(path, 'large', {'x': np.zeros(10**7)})
    assert errors.disk_error(caught.value)
    assert work_files.is_valid(path, 'good') and os.listdir(small_disk) == ['x.npz']
    small = {'params': {'x': np.zeros(1000, np.float32)}}
    checkpoints.save(small_disk, 'latest', small, {'step': 1})
    large = {'params': {'x': np.random.default_rng(0).random(10**6)}}
    with pytest.raises(Exception) as caught:
        checkpoints.save(small_disk, 'latest', large, {'step': 2})
    assert errors.disk_error(caught.value)
    assert checkpoints.read_meta(small_disk, 'latest')['step'] == 1
