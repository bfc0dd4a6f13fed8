"""A face drawn into a photo at a known pose, for tests of head pose."""

import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.geometry import map_grid, rendering
from seqface_jax.geometry.alignment import RigidTransform
from seqface_jax.photos import pose_regression

CAMERA = pose_regression.Camera(1200.0, np.array([160.0, 120.0]))


def pose_at(yaw=0.0, pitch=0.0, roll=0.0, centre=(0.0, 0.0, -1000.0)):
    """Returns the Pose of these angles in rad, whose head's middle is at `centre` mm."""
    turn = Rotation.from_euler('YXZ', [yaw, pitch, roll]).as_matrix()
    translation = np.array(centre) - turn @ pose_regression.CENTRE
    return pose_regression.Pose(RigidTransform(turn, translation), CAMERA, 1.0)


def photograph(points, mask, looks, truth):
    """Draws a face in its looks, [240, 320] float32, triangle by triangle through its pixels."""
    triangles = map_grid.grid_triangles(mask)
    moved = truth.transform.apply(points.reshape(-1, 3).astype(np.float64))
    screen = truth.camera.project(moved) + [0, 40]
    pixel, triangle, weights = rendering.fragments(screen, moved[:, 2], triangles, 320)
    image = np.full(320 * 320, 120.0)
    image[pixel] = (looks.reshape(-1)[triangles[triangle]] * weights).sum(1)
    return image.reshape(320, 320)[40:280]
