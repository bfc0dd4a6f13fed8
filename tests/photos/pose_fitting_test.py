import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.photos import pose_fitting
from tests.helpers import bumpy_face
from tests.helpers.posed_photo import CAMERA, photograph, pose_at


def _scene():
    """Returns a face's points, mask and looks with some pattern."""
    points = bumpy_face.position_map_of(1)
    rng = np.random.default_rng(0)
    looks = cv2.GaussianBlur(rng.normal(size=(128, 128)), (0, 0), 3).astype(np.float32)
    return points, bumpy_face.mask_of(points), 128 + 400 * looks


def test_refining_finds_the_pose_of_a_rendered_face_from_a_few_degrees_beside_it(monkeypatch):
    points, mask, looks = _scene()
    truth = pose_at(0.25, -0.1, 0.05, (4.0, -3.0, -1000.0))
    gray = photograph(points, mask, looks, truth).clip(0, 255).astype(np.uint8)
    photo = np.repeat(gray[..., None], 3, axis=2)
    beside = pose_at(0.20, -0.05, 0.03, (6.0, -1.0, -1020.0))
    monkeypatch.setattr(pose_fitting, 'regress', lambda *_: beside)
    found = pose_fitting.fit(photo, [80, 40, 240, 200], points, mask, camera=CAMERA, looks=looks)
    turn = found.transform.rotation @ truth.transform.rotation.T
    error_deg = np.degrees(Rotation.from_matrix(turn).magnitude())
    started = beside.transform.rotation @ truth.transform.rotation.T
    started_deg = np.degrees(Rotation.from_matrix(started).magnitude())
    assert started_deg > 3.5 and error_deg < 1.2 and found.score > 0.9
