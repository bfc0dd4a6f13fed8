import numpy as np
import pytest

from seqface_jax import export
from seqface_jax.errors import UserError

_VERTICES = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], np.float32)
_TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
_CONFIDENCE = np.array([0.1, 0.2, 0.3, 1.0], np.float32)


def _save(tmp_path, name):
    path = tmp_path / 'new' / name
    export.save(str(path), _VERTICES, _TRIANGLES, _CONFIDENCE)
    return path


def test_a_ply_says_what_it_holds_and_holds_it(tmp_path):
    header, body = _save(tmp_path, 'face.ply').read_bytes().split(b'end_header\n')
    lines = header.decode().splitlines()
    assert lines[:2] == ['ply', 'format binary_little_endian 1.0']
    assert 'element vertex 4' in lines and 'element face 2' in lines
    vertices = np.frombuffer(body[: 4 * 28], '<f4').reshape(4, 7)
    np.testing.assert_array_equal(vertices[:, :3], _VERTICES)
    np.testing.assert_array_equal(vertices[:, 3:6], [[0, 0, 1]] * 4)  # Towards +z.
    np.testing.assert_array_equal(vertices[:, 6], _CONFIDENCE)
    faces = np.frombuffer(body[4 * 28 :], [('count', 'u1'), ('index', '<i4', 3)])
    np.testing.assert_array_equal(faces['count'], 3)
    np.testing.assert_array_equal(faces['index'], _TRIANGLES)


def test_an_obj_counts_from_one(tmp_path):
    lines = _save(tmp_path, 'face.obj').read_text().splitlines()
    assert 'v 2.0000 2.0000 0.0000' in lines
    assert lines[-2:] == ['f 1//1 2//2 3//3', 'f 1//1 3//3 4//4']


def test_an_npz_gives_the_arrays_back(tmp_path):
    with np.load(_save(tmp_path, 'face.npz')) as found:
        np.testing.assert_array_equal(found['vertices'], _VERTICES)
        np.testing.assert_array_equal(found['triangles'], _TRIANGLES)
        np.testing.assert_array_equal(found['confidence'], _CONFIDENCE)


def test_an_unknown_ending_is_refused_with_the_legal_ones(tmp_path):
    with pytest.raises(UserError, match=r'\.glb is not supported yet.*\.ply, \.obj, \.npz'):
        _save(tmp_path, 'face.glb')
    with pytest.raises(UserError, match=r"'\.stl' is none of \.ply, \.obj, \.npz"):
        _save(tmp_path, 'face.stl')
