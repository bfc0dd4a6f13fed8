import io

import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.errors import UserError
from seqface_jax.photos.face_detection import DetectedFace
from seqface_jax.reconstruction import saved_states

NETWORK = {'memory': (jnp.ones((1, 2)), jnp.zeros(3)), 'weight': jnp.arange(4.0)}
DETECTION = DetectedFace(np.array([1, 2, 3, 4], np.float32), np.eye(48, dtype=np.uint8), 'profile')


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / 'state.npz')
    saved_states.save(path, (NETWORK, DETECTION, 7), 'abc')
    return path


def _rewrite(path, **changes):
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    np.savez(path, **content | changes)


def test_what_is_saved_comes_back(path):
    network, detection, num_frames = saved_states.load(path, NETWORK, 'abc')
    assert num_frames == 7 and detection.found_by == 'profile'
    np.testing.assert_array_equal(detection.box, DETECTION.box)
    np.testing.assert_array_equal(detection.patch, DETECTION.patch)
    np.testing.assert_array_equal(network['memory'][0], NETWORK['memory'][0])
    np.testing.assert_array_equal(network['weight'], NETWORK['weight'])


def test_nothing_in_the_file_is_a_pickle(path):
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype.kind in 'fiuU' for name in file.files)


def test_another_format_is_refused(path):
    _rewrite(path, format=1)
    with pytest.raises(UserError, match='has format 1, this program reads 2'):
        saved_states.load(path, NETWORK, 'abc')


def test_another_network_is_refused(path):
    with pytest.raises(UserError, match='is of another network'):
        saved_states.load(path, NETWORK, 'abd')


def test_a_leaf_of_another_shape_or_a_missing_one_is_refused(path):
    for other in (NETWORK | {'weight': jnp.zeros(5)}, NETWORK | {'more': jnp.zeros(1)}):
        with pytest.raises(UserError, match='is damaged'):
            saved_states.load(path, other, 'abc')


def _one_array():
    content = io.BytesIO()
    np.save(content, np.ones(3))
    return content.getvalue()


@pytest.mark.filterwarnings('error')  # A file left open.
@pytest.mark.parametrize('content', [b'', b'not an archive', b'PK\x03\x04 cut short', _one_array()])
def test_a_foreign_file_is_refused_in_one_sentence(tmp_path, content):
    (tmp_path / 'x.npz').write_bytes(content)
    with pytest.raises(UserError, match='x.npz is not a saved state'):
        saved_states.load(str(tmp_path / 'x.npz'), NETWORK, 'abc')


def test_a_folder_leads_to_the_state_in_it(tmp_path):
    with pytest.raises(UserError, match=r'is a folder: give the state in it, .*/state\.npz'):
        saved_states.load(str(tmp_path), NETWORK, 'abc')


def test_a_file_cut_short_is_refused(path):
    with open(path, 'rb') as file:
        data = file.read()
    with open(path, 'wb') as file:
        file.write(data[: len(data) // 2])
    with pytest.raises(UserError, match='not a saved state'):
        saved_states.load(path, NETWORK, 'abc')


def test_an_archive_of_something_else_or_with_pickles_is_refused(tmp_path):
    other = str(tmp_path / 'other.npz')
    np.savez(other, vertices=np.zeros(3))
    with pytest.raises(UserError, match='not a saved state'):
        saved_states.load(other, NETWORK, 'abc')
    np.savez(other, format=np.array([{'a': 1}], object))
    with pytest.raises(UserError, match='not a saved state'):
        saved_states.load(other, NETWORK, 'abc')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match='no saved state .*none.npz'):
        saved_states.load(str(tmp_path / 'none.npz'), NETWORK, 'abc')


def test_a_fingerprint_changes_with_a_weight_a_name_and_a_setting():
    weights = {'params': {'a': np.zeros(3)}}
    prints = {
        saved_states.fingerprint('x', weights),
        saved_states.fingerprint('y', weights),
        saved_states.fingerprint('x', {'params': {'b': np.zeros(3)}}),
        saved_states.fingerprint('x', {'params': {'a': np.array([0, 0, 1e-7])}}),
    }
    assert len(prints) == 4
    assert saved_states.fingerprint('x', weights) in prints
