import io

import numpy as np
import pytest

from seqface_jax import files
from seqface_jax.errors import UserError


def _arrays():
    content = io.BytesIO()
    np.savez_compressed(content, a=np.arange(2000), b=np.ones(3))
    return content.getvalue()


def test_arrays_are_read_all_or_by_name(tmp_path):
    (tmp_path / 'x.npz').write_bytes(_arrays())
    assert sorted(files.read_arrays(tmp_path / 'x.npz', '')) == ['a', 'b']
    read = files.read_arrays(tmp_path / 'x.npz', '', ['b'])
    np.testing.assert_array_equal(read.pop('b'), np.ones(3))
    assert not read


@pytest.mark.parametrize('compressed', [False, True])
def test_arrays_that_were_written_are_read_back(tmp_path, compressed):
    arrays = {'a': np.arange(2000), 'b': np.ones((2, 3), np.float32)}
    files.write_arrays(tmp_path / 'x.npz', arrays, compressed=compressed)
    assert (tmp_path / 'x.npz').stat().st_size < 16000 or not compressed
    read = files.read_arrays(tmp_path / 'x.npz', '')
    assert read.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(read[name], values, strict=True)


@pytest.mark.parametrize('share', [0.0, 0.3, 0.9, 0.99])
def test_a_file_of_arrays_that_was_cut_is_called_damaged_with_what_to_do(tmp_path, share):
    data = _arrays()
    (tmp_path / 'x.npz').write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match='x.npz: cannot be read .damaged: .*; write it again'):
        files.read_arrays(tmp_path / 'x.npz', 'write it again')


def test_a_file_of_arrays_whose_bytes_were_changed_is_called_damaged(tmp_path):
    data = bytearray(_arrays())
    data[60:120] = bytes(60)
    (tmp_path / 'x.npz').write_bytes(data)
    with pytest.raises(UserError, match='damaged'):
        files.read_arrays(tmp_path / 'x.npz', '')


def test_a_missing_file_a_single_array_and_a_missing_array_are_refused(tmp_path):
    with pytest.raises(UserError, match='No such file'):
        files.read_arrays(tmp_path / 'none.npz', '')
    np.save(tmp_path / 'x.npy', np.ones(3))
    with pytest.raises(UserError, match='x.npy: cannot be read .damaged'):
        files.read_arrays(tmp_path / 'x.npy', '')
    (tmp_path / 'x.npz').write_bytes(_arrays())
    with pytest.raises(UserError, match='c is not a file in the archive'):
        files.read_arrays(tmp_path / 'x.npz', '', ['c'])
