import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.reconstruction import frame_fit
from tests.helpers import small_fit


def test_a_point_is_seen_where_the_pinhole_says():
    fit = small_fit.make()
    # 70 mm to the person's left and 35 mm up, at 700 mm: 500 * 0.1 px right and 500 * 0.05 px up.
    places = frame_fit.project(fit, [[70.0, 35.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(places, [[150, 75], [100, 100]])


def test_what_comes_out_of_the_face_is_nearer_to_the_camera():
    seen = frame_fit.camera_points(small_fit.make(), [[0.0, 0.0, 100.0]])
    np.testing.assert_allclose(seen, [[0, 0, 600]])


def test_angles_are_yaw_to_the_left_pitch_down_and_roll_to_the_right():
    turn = Rotation.from_euler('YXZ', [20, 10, -5], degrees=True).as_matrix()
    fit = small_fit.make(rotation=small_fit.TOWARDS_CAMERA @ turn)
    np.testing.assert_allclose(frame_fit.angles_deg(fit), [20, 10, -5], atol=1e-9)
    nose = fit.rotation @ [0, 0, 1]
    assert nose[0] > 0 and nose[1] > 0  # To the right and down in the photo.


def test_a_crop_shows_the_points_at_its_own_scale():
    fit = small_fit.make()
    points = fit.vertices
    moved = frame_fit.project(frame_fit.in_crop(fit, np.array([50, 20, 150, 120]), 400), points)
    np.testing.assert_allclose(moved, 4 * (frame_fit.project(fit, points) - [50, 20]))
