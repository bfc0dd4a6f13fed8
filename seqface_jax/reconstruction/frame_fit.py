"""Where the face is on one photo, and which expression it shows there."""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.geometry.alignment import UPRIGHT


@dataclasses.dataclass(frozen=True)
class FrameFit:
    """The face on one photo, read from the filter's state; nothing estimates a pose a second time.

    The upper left corner of the photo is (0, 0) px, so the middle of its first pixel (0.5, 0.5).

    Attributes:
        rotation: [3, 3], canonical frame -> camera frame (x right, y down, z forward).
        translation: [3] mm, canonical frame -> camera frame.
        focal_px: of the pinhole camera, in pixels of the photo.
        center_px: [2], where its axis meets the photo.
        vertices: [V, 3] mm, canonical frame, the face with the expression of this photo.
        expression: [E] in [0, 1], weights of the blendshapes.
        reprojection_px: error of the measured points, root mean square.
        score: in [0, 1], the network's word that this is a face.
        confidence: in [0, 1], how far its points on this photo can be believed.
    """

    rotation: np.ndarray
    translation: np.ndarray
    focal_px: float
    center_px: np.ndarray
    vertices: np.ndarray
    expression: np.ndarray
    reprojection_px: float
    score: float
    confidence: float


def camera_points(fit, points):
    """Returns points [N, 3] of the canonical frame in the camera's frame, [N, 3] mm."""
    return np.asarray(points, np.float64) @ np.asarray(fit.rotation).T + fit.translation


def project(fit, points):
    """Returns where points [N, 3] mm of the canonical frame are seen, [N, 2] px."""
    seen = camera_points(fit, points)
    depth = np.maximum(seen[:, 2:], 1e-6)  # A point beside the camera has no place; keep it finite.
    return fit.focal_px * seen[:, :2] / depth + fit.center_px


def angles_deg(fit):
    """Returns yaw (to the subject's left), pitch (down) and roll (to the subject's right), [3]."""
    return np.degrees(Rotation.from_matrix(UPRIGHT @ fit.rotation).as_euler('YXZ'))


def rescaled(fit, factor):
    """Returns the FrameFit for the same picture with `factor` times as many pixels along a side."""
    return dataclasses.replace(
        fit,
        focal_px=fit.focal_px * factor,
        center_px=np.asarray(fit.center_px) * factor,
        reprojection_px=fit.reprojection_px * factor,
    )


def in_crop(fit, square, side_px):
    """Returns the FrameFit for a picture that shows only a square of the photo.

    Args:
        fit: FrameFit of the photo.
        square: [4] x0, y0, x1, y1 px of the photo.
        side_px: of the picture into which the square is resized.
    """
    zoom = side_px / (square[2] - square[0])
    center_px = (np.asarray(fit.center_px) - square[:2]) * zoom
    return dataclasses.replace(fit, focal_px=fit.focal_px * zoom, center_px=center_px)
