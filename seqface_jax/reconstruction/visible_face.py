"""What a photo shows of a face: where each point of it is seen, how well and how surely.

How well: whether the point is visible (z-buffer, with soft edges), how flatly it is seen, how well
the pose fits and how sure the reconstruction is there. How surely: within the stated error of where
the face is, near its outline, the photo may show what is behind the face.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage

from seqface_jax.geometry import map_grid, rendering
from seqface_jax.geometry.smoothstep import smoothstep
from seqface_jax.photos import pose_fitting

_MIN_COS = 0.2  # Seen flatter than this a point takes no colour.
_SHARPNESS = 3  # Power of the frontal view's preference.
_FIT = 4  # Power of the pose's score.
_BEHIND_MM = 4.0  # A point so far behind what is seen first is hidden.
_DEPTH_PX = 192  # Side of the z-buffer,
_DEPTH_STEP = 2  # and pixels of the grid from one corner of what is drawn into it to the next.
_FLAT = 0.5  # Cosine below which the rim of what is drawn is an outline, not where the mesh ends.
_EDGE = 0.012  # Width of the fade at the edge of what is visible, as a share of the grid's side.


class VisibleFace(NamedTuple):
    """What a photo shows of the points [M, M, 3] of a face.

    Attributes:
        place: [M, M, 2] px, where they are on the photo.
        normals: [M, M, 3] in the camera's frame.
        weights: [M, M], how well they are seen; 0 where they are not.
        sure: [M, M] in [0, 1], how surely it is the face that is seen, not what is behind it.
    """

    place: np.ndarray
    normals: np.ndarray
    weights: np.ndarray
    sure: np.ndarray


class _Drawn(NamedTuple):
    """The face as a photo shows it, on a screen of D pixels a side about it.

    Attributes:
        depth: [D, D] z in the camera's frame, mm, of what is seen first; -inf beside the face.
        cosine: [D, D] of its normal and the direction to the camera.
        place: [M, M, 2] int, column and row of the grid's pixels; inside: [M, M] whether they lie
            on the screen.
        pixel_mm: side of a pixel, on the face.
    """

    depth: np.ndarray
    cosine: np.ndarray
    place: np.ndarray
    inside: np.ndarray
    pixel_mm: float

    def at(self, values):
        """Returns values [D, D] at the grid's pixels, [M, M]."""
        return values[self.place[..., 1], self.place[..., 0]]


def visible_face(photo, pose, points, mask, confidence=None):
    """Returns what a photo shows of a face, VisibleFace.

    Args:
        photo: [H, W, 3] uint8 RGB.
        pose: Pose of the face in it, whose score weighs the photo.
        points: [M, M, 3] mm, the face on a grid.
        mask: [M, M] bool, the grid's pixels that are face.
        confidence: [V] in (0, 1] of the mask's pixels, 1 / (1 + their standard deviation in mm);
            all ones if left out.
    """
    trust = np.zeros(mask.shape, np.float32)
    trust[mask] = 1.0 if confidence is None else confidence
    place = pose.project(points)
    seen = pose.transform.apply(points)
    normals = map_grid.normals(points.astype(np.float64)) @ pose.transform.rotation.T
    towards = -seen / np.linalg.norm(seen, axis=-1, keepdims=True)
    cosine = (normals * towards).sum(-1)
    facing = np.clip((cosine - _MIN_COS) / (1 - _MIN_COS), 0, 1)
    height, width = photo.shape[:2]
    inside = ((place > 1) & (place < [width - 1, height - 1])).all(-1)
    drawn = _draw(pose, seen, cosine, mask)
    visible = inside & ~_hidden(drawn, seen) & (facing > 0) & (trust > 0)
    weights = _fade(visible) * facing**_SHARPNESS * trust * pose.score**_FIT
    sure = _within(drawn, 1 / np.maximum(trust, 1e-3) - 1)
    return VisibleFace(*(own.astype(np.float32) for own in (place, normals, weights, sure)))


def _draw(pose, seen, cosine, mask):
    """Draws the points of a grid, seen [M, M, 3] mm in the camera's frame; returns _Drawn."""
    square = pose_fitting.square_of(pose)
    zoom = _DEPTH_PX / (square[2] - square[0])
    screen = (pose.camera.project(seen) - square[:2]) * zoom
    step = (slice(None, None, _DEPTH_STEP),) * 2
    triangles = map_grid.grid_triangles(mask[step])
    values = np.stack([seen[step][..., 2].ravel(), cosine[step].ravel()], 1)
    corners = screen[step].reshape(-1, 2)
    pixel, triangle, weights = rendering.fragments(corners, values[:, 0], triangles, _DEPTH_PX)
    images = np.full((_DEPTH_PX**2, 2), -np.inf)
    images[pixel] = (values[triangles[triangle]] * weights[..., None]).sum(1)
    depth, cosine = np.moveaxis(images.reshape(_DEPTH_PX, _DEPTH_PX, 2), -1, 0)
    place = screen.astype(int)
    inside = ((place >= 0) & (place < _DEPTH_PX)).all(-1)
    pixel_mm = np.linalg.norm(pose.transform.translation) / pose.camera.focal_px / zoom
    return _Drawn(depth, cosine, place.clip(0, _DEPTH_PX - 1), inside, pixel_mm)


def _hidden(drawn, seen):
    """Returns which points, seen [M, M, 3] mm in the camera's frame, lie behind the face."""
    return drawn.inside & (seen[..., 2] < drawn.at(drawn.depth) - _BEHIND_MM)


def _within(drawn, deviation_mm):
    """Returns [M, M] in [0, 1], how surely the photo shows the face at points, not what is behind.

    0 up to one deviation [M, M] mm of a point from the face's outline, 1 from two on.
    """
    face = ndimage.binary_fill_holes(np.isfinite(drawn.depth))
    rim = face & ~ndimage.binary_erosion(face, border_value=1) & (drawn.cosine < _FLAT)
    distance = cv2.distanceTransform((~rim).astype(np.uint8), cv2.DIST_L2, 5)
    beyond = drawn.at(distance) * drawn.pixel_mm - deviation_mm
    return smoothstep(0, 1, beyond / np.maximum(deviation_mm, 1e-3))


def _fade(visible):
    """Returns weights in [0, 1] that fall smoothly to 0 at the edge of what is visible [M, M]."""
    reach = _EDGE * len(visible)
    distance = cv2.distanceTransform(np.pad(visible, 1).astype(np.uint8), cv2.DIST_L2, 3)
    return smoothstep(0, 1, distance[1:-1, 1:-1] / (2 * reach))
