import jax
import numpy as np
import pytest

from seqface_jax.geometry import surface
from seqface_jax.models.layers.oriented_gradients import OrientedGradients
from seqface_jax.photos import pose_regression
from tests.helpers import bumpy_face
from tests.helpers.posed_photo import CAMERA, photograph, pose_at


def test_a_point_up_and_to_the_right_is_seen_up_and_to_the_right():
    # 10 mm of 1000 mm at a focal length of 1200 pixels: 12 pixels.
    np.testing.assert_allclose(CAMERA.project(np.array([10.0, 10.0, -1000.0])), [172, 108])


def test_an_assumed_camera_sees_a_face_of_the_box_s_size_at_its_distance():
    camera = pose_regression.assumed_camera([10, 20, 110, 120])
    half = pose_regression.FACE_BOX_MM / 2
    corner = camera.project(np.array([half, -half, -pose_regression.DISTANCE_MM]))
    np.testing.assert_allclose(corner, [110, 120])


def test_the_angles_of_a_pose_are_those_it_was_made_of():
    np.testing.assert_allclose(pose_at(0.3, -0.2, 0.1).angles_rad, [0.3, -0.2, 0.1], atol=1e-12)


def test_the_answer_of_a_pose_gives_the_pose_back():
    truth = pose_at(0.4, 0.1, -0.1, (30.0, -20.0, -900.0))
    square = np.array([100.0, 60.0, 300.0, 260.0])
    found = pose_regression._pose_of(pose_regression.answer_of(truth, square), square, CAMERA)
    np.testing.assert_allclose(found.transform.rotation, truth.transform.rotation, atol=1e-9)
    np.testing.assert_allclose(found.transform.translation, truth.transform.translation, atol=1e-6)


def test_the_square_of_a_pose_is_centred_on_the_head():
    square = pose_regression.square_of(pose_at(0.2))
    np.testing.assert_allclose((square[:2] + square[2:]) / 2, CAMERA.centre, atol=1e-9)
    np.testing.assert_allclose(square[2] - square[0], 1.2 * pose_regression.SQUARE_MM)


@pytest.mark.parametrize('side', [64, 16])
def test_a_crop_takes_each_pixel_from_its_place(side):
    # A ramp: the middle of crop pixel k lies at 32 + 64 (k + 1/2) / side.
    photo = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None], 128, axis=0).repeat(3, 2)
    crop = pose_regression.crop_of(photo, np.array([32.0, 32.0, 96.0, 96.0]), side)
    expected = 32 + 64 * (np.arange(side) + 0.5) / side - 0.5
    np.testing.assert_allclose(crop[side // 2, 1:-1, 0], expected[1:-1], atol=1.1)


def test_a_crop_is_shrunk_once_however_its_corners_are_rounded():
    photo = np.full((200, 200, 3), 7, np.uint8)
    for side in np.random.default_rng(0).uniform(129, 180, 300):
        assert (
            pose_regression.crop_of(photo, np.array([9.7, 3.3, 9.7 + side, 3.3 + side])) == 7
        ).all()


def test_the_gradients_are_those_of_the_network_s_layer():
    crops = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    layer = OrientedGradients(features=8, stride=4)
    expected = jax.jit(lambda x: layer.apply({}, x, train=False))(np.float32(crops) / 255)
    np.testing.assert_allclose(
        pose_regression.gradients(crops), expected.reshape(2, -1), rtol=1e-4, atol=1e-5
    )


def mean_looking(truth):
    """Returns a photo [240, 320, 3] of a face with the looks that the package knows."""
    points = bumpy_face.position_map_of(1)
    looks = pose_regression.known()['looks'].astype(np.float32)
    gray = photograph(points, surface.crop_mask(points), looks, truth).clip(0, 255)
    return np.repeat(gray[..., None].astype(np.uint8), 3, axis=2)


def test_the_packaged_regressions_say_that_an_upright_mean_face_looks_ahead():
    found = pose_regression.regress(mean_looking(pose_at()), [24, -16, 296, 256], CAMERA)
    assert np.degrees(np.abs(found.angles_rad)).max() < 12


def test_each_look_centres_the_head_better():
    truth = pose_at(centre=(5.0, 3.0, -1000.0))
    photo, place = mean_looking(truth), CAMERA.project(np.array([[5.0, 3.0, -1000.0]]))[0]
    away = []
    for stages in ((0,), (0, 1), (0, 1, 1)):
        square = pose_regression.square_of(
            pose_regression.regress(photo, [0, -10, 290, 280], CAMERA, stages)
        )
        away.append(np.linalg.norm((square[:2] + square[2:]) / 2 - place))
    assert away[-1] < 12 and away[-1] < away[0] + 1
