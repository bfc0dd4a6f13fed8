import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from seqface_jax.geometry.alignment import RigidTransform
from seqface_jax.photos import pose_fitting
from seqface_jax.reconstruction import texture
from tests.helpers import bumpy_face

_CAMERA = pose_fitting.Camera(1000.0, np.array([128.0, 128.0]))
_LEFT, _RIGHT = (200, 60, 40), (40, 90, 210)  # Colours of the photo's halves.


def _pose(yaw=0.0, score=1.0):
    turn = Rotation.from_euler('Y', yaw).as_matrix()
    return pose_fitting.Pose(
        RigidTransform(turn, [0, 0, -1000] - turn @ pose_fitting.CENTRE), _CAMERA, score
    )


def _photo():
    photo = np.full((256, 256, 3), _RIGHT, np.uint8)
    photo[:, :128] = _LEFT
    return photo


@pytest.fixture(scope='module')
def face():
    points = bumpy_face.position_map_of(0)
    return points, bumpy_face.mask_of(points)


@pytest.fixture(scope='module')
def seen(face):
    return texture.add(texture.empty(64), _photo(), _pose(), *face)


def test_the_photo_s_left_is_the_texture_s_left(seen):
    picture = texture.finish(seen)
    np.testing.assert_allclose(picture[32, 26], _LEFT, atol=5)
    np.testing.assert_allclose(picture[32, 37], _RIGHT, atol=5)


def test_what_is_seen_flatly_counts_less(seen):
    assert seen.weights[32, 32] > 3 * seen.weights[32, 52] > 0


def test_a_photo_counts_by_its_weight(face, seen):
    gray = np.full((256, 256, 3), 100, np.uint8)
    twice = texture.add(seen, gray, _pose(score=0.5**0.25), *face)
    share = (twice.weights - seen.weights)[32, 32] / twice.weights[32, 32]
    np.testing.assert_allclose(share, 1 / 3, atol=1e-3)


def test_a_pose_that_does_not_fit_changes_nothing(face, seen):
    assert texture.add(seen, _photo(), _pose(score=0.0), *face) is seen


def test_the_side_that_no_photo_shows_mirrors_the_other(face):
    turned = texture.add(texture.empty(64), np.full((256, 256, 3), _LEFT, np.uint8),
                         _pose(yaw=1.2), *face)  # fmt: skip
    # The head turns to its left, so its right cheek, the texture's left, is seen.
    assert turned.weights[32, 12] > 0 and turned.weights[32, 51] == 0
    np.testing.assert_allclose(texture.finish(turned)[32, 51], _LEFT, atol=3)


def test_no_photo_at_all_is_gray():
    assert (texture.finish(texture.empty(8)) == 128).all()


def test_memory_does_not_grow(seen):
    assert seen.colors.shape == (64, 64, 3) and seen.weights.shape == (64, 64)


def test_filling_keeps_what_is_known_and_continues_it():
    values = np.zeros((16, 16, 1))
    values[:, :4] = 7
    known = np.zeros((16, 16))
    known[:, :4] = 1
    np.testing.assert_allclose(texture.fill(values, known), 7, atol=1e-4)


def test_a_map_is_continued_beyond_its_mask(face):
    points, mask = face
    whole = texture.map_of(points[mask], mask)
    np.testing.assert_array_equal(whole[mask], points[mask])
    assert np.isfinite(whole).all() and np.linalg.norm(whole, axis=-1).min() > 40
