import jax
import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.models.layers import unwrapping
from seqface_jax.photos import pose_regression
from tests.helpers import bumpy_face
from tests.helpers.compiling import quick_jit
from tests.helpers.posed_photo import pose_at
from tests.photos.pose_regression_test import mean_looking

# A camera that looks at the middle of a crop as the layer takes it to.
_CROP_CAMERA = pose_regression.Camera(unwrapping.FOCAL, np.array([0.5, 0.5]))


def _constants():
    return {'mean_map': bumpy_face.position_map_of(1)} | unwrapping.regressions()


def test_a_vector_turns_as_scipy_says_and_a_null_one_not_at_all():
    vectors = np.random.default_rng(0).normal(size=(5, 3))
    vectors[0] = 0
    expected = Rotation.from_rotvec(vectors).as_matrix()
    found = quick_jit(unwrapping.rotation_matrix)(vectors)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_points_are_seen_where_the_photo_s_camera_sees_them():
    truth = pose_at(0.4, -0.1, 0.05, (12.0, -8.0, -950.0))
    points = bumpy_face.position_map_of(1)
    centre = truth.transform.apply(pose_regression.CENTRE)
    project = quick_jit(unwrapping.project)
    places, cosine = project(points, truth.transform.rotation[None], centre[None])
    expected = _CROP_CAMERA.project(truth.transform.apply(points.reshape(-1, 3)))
    np.testing.assert_allclose(places[0].reshape(-1, 2), expected, atol=1e-4)
    # Turned to its left, which the photo shows on the right: the far cheek is the left one.
    assert cosine[0, 64, 16] > cosine[0, 64, 111]


def test_a_frame_is_read_between_its_pixels_and_goes_on_beyond_its_edge():
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32), (1, 8, 8))
    places = np.float32([[[[0.25, 0.5], [0.3125, 0.1], [-1.0, 0.5], [2.0, 0.5]]]])
    found = quick_jit(unwrapping.read)(ramp, places)
    np.testing.assert_allclose(found[0, 0], [1.5, 2.0, 0.0, 7.0], atol=1e-5)


def test_the_device_finds_the_pose_that_the_host_finds():
    photo = mean_looking(pose_at(0.2))
    square = np.array([30.0, -10.0, 290.0, 250.0])
    crop = pose_regression.crop_of(photo, square)
    camera = pose_regression.Camera(unwrapping.FOCAL * 260, np.array([160.0, 120.0]))
    expected = pose_regression.regress(photo, square, camera, stages=(1,)).transform
    known = unwrapping.regressions()
    gray = np.float32(crop[None]).mean(-1) / 255

    @quick_jit
    def regress(gray, weights, bias):
        return unwrapping.head(unwrapping.regress(gray, weights, bias))

    rotation, centre = regress(gray, known['pose_weights'], known['pose_bias'])
    # Off the axis the host turns the answer towards the ray; the device leaves these degrees out.
    turn = Rotation.from_matrix(np.float64(rotation[0]) @ expected.rotation.T)
    assert np.degrees(turn.magnitude()) < 1.5
    np.testing.assert_allclose(centre[0], expected.apply(pose_regression.CENTRE), atol=2)


def test_what_is_turned_away_says_nothing_and_the_face_moves_less_than_the_frame():
    layer = unwrapping.UnwrappedGradients(features=4, stride=8)
    look = jax.jit(lambda x: layer.apply({}, x, _constants()))
    frames = []
    for yaw in (0.0, 0.5):
        photo = mean_looking(pose_at(yaw))
        frames.append(pose_regression.crop_of(photo, np.array([28.0, -12.0, 292.0, 252.0]), 128))
    whole, face, _ = look(np.float32(frames) / 255)
    assert whole.shape == face.shape == (2, 16, 16, 4)
    assert np.isfinite(whole).all() and np.isfinite(face).all()
    assert np.abs(face[1, 8, 13:]).max() < 0.2 * np.abs(face[1, 8, 3:8]).max()

    def likeness(x, part=slice(None)):
        return np.corrcoef(x[0, 4:12, part].ravel(), x[1, 4:12, part].ravel())[0, 1]

    # The nose, the mouth and the cheek that both show: at one place only once unwrapped.
    assert likeness(face, slice(3, 9)) > likeness(whole) + 0.1
