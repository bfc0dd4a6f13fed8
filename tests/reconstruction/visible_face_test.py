import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from seqface_jax.geometry.alignment import RigidTransform
from seqface_jax.photos import pose_fitting
from seqface_jax.reconstruction.visible_face import visible_face
from tests.helpers import bumpy_face

_CAMERA = pose_fitting.Camera(1000.0, np.array([128.0, 128.0]))
_PHOTO = np.zeros((256, 256, 3), np.uint8)


def _pose(yaw=0.0):
    turn = Rotation.from_euler('Y', yaw).as_matrix()
    return pose_fitting.Pose(
        RigidTransform(turn, [0, 0, -1000] - turn @ pose_fitting.CENTRE), _CAMERA, 1.0
    )


@pytest.fixture(scope='module')
def face():
    points = bumpy_face.position_map_of(0).astype(np.float32)
    return points, bumpy_face.mask_of(points)


def test_the_far_cheek_of_a_turned_head_is_not_seen(face):
    points, mask = face
    weights = visible_face(_PHOTO, _pose(yaw=1.2), points, mask).weights
    left, right = points[..., 0] > 40, points[..., 0] < -40
    assert weights[right & mask].max() > 0.3 and weights[left & mask].max() < 0.01


def test_a_face_beyond_the_photo_s_edge_is_not_seen(face):
    points, mask = face
    seen = visible_face(_PHOTO[:, :128], _pose(), points, mask)
    assert (seen.weights[seen.place[..., 0] > 128] == 0).all()
    assert seen.weights.max() > 0.5


def test_the_outline_is_less_sure_than_the_middle_as_far_as_the_error_is_stated(face):
    points, mask = face
    precise, vague = (
        visible_face(_PHOTO, _pose(), points, mask, np.full(mask.sum(), 1 / (1 + error_mm))).sure
        for error_mm in (1.0, 8.0)
    )
    middle = len(mask) // 2
    assert precise[middle, middle] == vague[middle, middle] == 1
    assert precise[mask].mean() > vague[mask].mean() + 0.1
