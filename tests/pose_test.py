import cv2
import numpy as np
import pytest

from seqface_jax import pose, surface
from seqface_jax.alignment import RigidTransform
from tests import bumpy_face

_CAMERA = pose.Camera(1200.0, np.array([160.0, 120.0]))


def _pose(yaw=0.0, pitch=0.0, roll=0.0, centre=(0.0, 0.0, -1000.0)):
    turn = pose.spatial.transform.Rotation.from_euler('YXZ', [yaw, pitch, roll]).as_matrix()
    return pose.Pose(RigidTransform(turn, np.array(centre) - turn @ pose.CENTRE), _CAMERA, 1.0)


def test_a_point_up_and_to_the_right_is_seen_up_and_to_the_right():
    # 10 mm of 1000 mm at a focal length of 1200 pixels: 12 pixels.
    np.testing.assert_allclose(_CAMERA.project(np.array([10.0, 10.0, -1000.0])), [172, 108])


def test_an_assumed_camera_sees_a_face_of_the_box_s_size_at_its_distance():
    camera = pose.assumed_camera([10, 20, 110, 120])
    half = pose.FACE_BOX_MM / 2
    corner = camera.project(np.array([half, -half, -pose.DISTANCE_MM]))
    np.testing.assert_allclose(corner, [110, 120])


def test_the_angles_of_a_pose_are_those_it_was_made_of():
    np.testing.assert_allclose(_pose(0.3, -0.2, 0.1).angles_rad, [0.3, -0.2, 0.1], atol=1e-12)


def test_the_answer_of_a_pose_gives_the_pose_back():
    truth = _pose(0.4, 0.1, -0.1, (30.0, -20.0, -900.0))
    square = np.array([100.0, 60.0, 300.0, 260.0])
    found = pose._pose_of(pose.answer_of(truth, square), square, _CAMERA)
    np.testing.assert_allclose(found.transform.rotation, truth.transform.rotation, atol=1e-9)
    np.testing.assert_allclose(found.transform.translation, truth.transform.translation, atol=1e-6)


def test_the_square_of_a_pose_is_centred_on_the_head():
    square = pose.square_of(_pose(0.2))
    np.testing.assert_allclose((square[:2] + square[2:]) / 2, _CAMERA.centre, atol=1e-9)
    np.testing.assert_allclose(square[2] - square[0], 1.2 * pose.SQUARE_MM)


@pytest.mark.parametrize('side', [64, 16])
def test_a_crop_takes_each_pixel_from_its_place(side):
    # A ramp: the middle of crop pixel k lies at 32 + 64 (k + 1/2) / side.
    photo = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None], 128, axis=0).repeat(3, 2)
    crop = pose.crop_of(photo, np.array([32.0, 32.0, 96.0, 96.0]), side)
    expected = 32 + 64 * (np.arange(side) + 0.5) / side - 0.5
    np.testing.assert_allclose(crop[side // 2, 1:-1, 0], expected[1:-1], atol=1.1)


def _scene():
    """Returns a face's points, mask and looks with some pattern."""
    points = bumpy_face.position_map_of(1)
    rng = np.random.default_rng(0)
    looks = cv2.GaussianBlur(rng.normal(size=(128, 128)), (0, 0), 3).astype(np.float32)
    return points, bumpy_face.mask_of(points), 128 + 400 * looks


def _photograph(points, mask, looks, truth):
    """Draws a face in its looks, [240, 320] float32, triangle by triangle through its pixels."""
    from seqface_jax import position_map, rendering

    triangles = position_map.grid_triangles(mask)
    moved = truth.transform.apply(points.reshape(-1, 3).astype(np.float64))
    screen = truth.camera.project(moved) + [0, 40]
    pixel, triangle, weights = rendering.fragments(screen, moved[:, 2], triangles, 320)
    image = np.full(320 * 320, 120.0)
    image[pixel] = (looks.reshape(-1)[triangles[triangle]] * weights).sum(1)
    return image.reshape(320, 320)[40:280]


def test_refining_finds_the_pose_of_a_rendered_face_from_a_few_degrees_beside_it(monkeypatch):
    points, mask, looks = _scene()
    truth = _pose(0.25, -0.1, 0.05, (4.0, -3.0, -1000.0))
    gray = _photograph(points, mask, looks, truth).clip(0, 255).astype(np.uint8)
    photo = np.repeat(gray[..., None], 3, axis=2)
    beside = _pose(0.20, -0.05, 0.03, (6.0, -1.0, -1020.0))
    monkeypatch.setattr(pose, 'regress', lambda *_: beside)
    found = pose.fit(photo, [80, 40, 240, 200], points, mask, camera=_CAMERA, looks=looks)
    turn = found.transform.rotation @ truth.transform.rotation.T
    error_deg = np.degrees(pose.spatial.transform.Rotation.from_matrix(turn).magnitude())
    started = beside.transform.rotation @ truth.transform.rotation.T
    started_deg = np.degrees(pose.spatial.transform.Rotation.from_matrix(started).magnitude())
    assert started_deg > 3.5 and error_deg < 1.2 and found.score > 0.9


def test_the_packaged_regressions_say_that_an_upright_mean_face_looks_ahead():
    points = surface_of_mean_looks()
    truth = _pose()
    gray = _photograph(*points, truth).clip(0, 255).astype(np.uint8)
    photo = np.repeat(gray[..., None], 3, axis=2)
    found = pose.regress(photo, [66, 8, 254, 196], _CAMERA)
    assert np.degrees(np.abs(found.angles_rad)).max() < 12


def surface_of_mean_looks():
    points = bumpy_face.position_map_of(1)
    return points, surface.crop_mask(points), pose._known()['looks'].astype(np.float32)
