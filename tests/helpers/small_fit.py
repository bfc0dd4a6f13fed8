"""A small face with landmarks, and where it is on a made-up photo."""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.geometry import surface
from seqface_jax.reconstruction.frame_fit import FrameFit
from tests.helpers import bumpy_face

SIDE = 24
PHOTO_PX = 200
TOWARDS_CAMERA = np.diag([1.0, -1.0, -1.0])  # A face that looks into the camera.


def mesh():
    """Returns vertices [V, 3] mm, triangles [F, 3], landmarks [68] (the nose tip's right)."""
    points = bumpy_face.position_map_of(0, SIDE)
    vertices, triangles = surface.from_prediction(points, ordered=True)
    landmarks = np.linspace(0, len(vertices) - 1, 68).astype(int)
    landmarks[30] = vertices[:, 2].argmax()
    return vertices.astype(np.float32), triangles, landmarks


def make(yaw_deg=0.0, expression=(0.0, 0.0), **changes):
    """Returns the fit of a face 700 mm away in the middle of a photo; positive yaw: to its left."""
    turn = Rotation.from_euler('y', yaw_deg, degrees=True).as_matrix()
    fit = FrameFit(
        rotation=TOWARDS_CAMERA @ turn,
        translation=np.array([0.0, 0.0, 700.0]),
        focal_px=500.0,
        center_px=np.array([PHOTO_PX / 2, PHOTO_PX / 2]),
        vertices=mesh()[0],
        expression=np.array(expression),
        reprojection_px=1.25,
        score=0.9,
        confidence=0.7,
    )
    return dataclasses.replace(fit, **changes)


def photo():
    """Returns a dark gray photo, [PHOTO_PX, PHOTO_PX, 3] uint8."""
    return np.full((PHOTO_PX, PHOTO_PX, 3), 40, np.uint8)
