import os

import pytest

from seqface_jax import files


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / 'x.txt'
    files.write_text(path, 'first')

    def fail(file):
        file.write(b'half of the seco')
        raise MemoryError

    with pytest.raises(MemoryError):
        files.write_atomically(path, fail)
    assert path.read_text() == 'first' and os.listdir(tmp_path) == ['x.txt']


def test_others_may_read_what_was_written(tmp_path):
    files.write_text(tmp_path / 'x', 'ä')
    assert os.stat(tmp_path / 'x').st_mode & 0o777 == 0o644
    assert (tmp_path / 'x').read_bytes() == 'ä'.encode()


def test_a_lock_has_one_holder_until_it_is_closed(tmp_path):
    path = tmp_path / 'lock'
    with files.lock(path):
        with pytest.raises(BlockingIOError):
            files.lock(path)
    files.lock(path).close()
