import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.geometry import image_space
from tests.helpers import bumpy_face


def _posed(yaw=0.0, pitch=0.0, roll=0.0):
    """Returns a face in mm, its pose and its image map."""
    face = bumpy_face.position_map_of(0)[::4, ::4]
    rotation = Rotation.from_euler('ZXY', [roll, -pitch, yaw], degrees=True).as_matrix()
    pose = image_space.ImagePose(
        jnp.float32(1 / 250), jnp.float32(rotation), jnp.float32([0.5, -0.5, 0])
    )
    return face, pose, pose.place(jnp.asarray(face))


def test_the_pose_is_found_and_undone():
    face, pose, placed = _posed(yaw=30, pitch=-10, roll=5)
    mask = np.ones(face.shape[:2], np.float32)
    mask[:5] = 0
    spoiled = jnp.asarray(placed).at[:5].set(7.0)  # What does not count does not disturb.
    found = image_space.fit_pose(spoiled, jnp.asarray(face), mask)
    np.testing.assert_allclose(found.rotation, pose.rotation, atol=1e-4)
    np.testing.assert_allclose(found.scale, pose.scale, rtol=1e-4)
    np.testing.assert_allclose(found.angles_deg(), [30, -10, 5], atol=0.05)
    np.testing.assert_allclose(found.undo(placed), face, atol=0.05)


def test_a_face_turned_to_its_left_looks_to_the_right_of_the_picture():
    face, _, placed = _posed(yaw=40)
    nose = np.unravel_index(face[..., 2].argmax(), face.shape[:2])
    assert placed[(*nose, 0)] > 0.6
    _, _, frontal = _posed()
    assert frontal[0, 16, 1] < frontal[-1, 16, 1]  # The forehead is above the chin: y is down.


def test_the_face_in_mm_has_the_size_of_the_mean_face():
    face, _, placed = _posed(yaw=20)
    weights = jnp.ones(face.shape[:2])
    in_mm = image_space.canonical(placed, jnp.asarray(1.1 * face), weights)
    np.testing.assert_allclose(in_mm, 1.1 * face, atol=0.05)
