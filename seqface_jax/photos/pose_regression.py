"""Head pose at a glance: two linear regressions from oriented gradients; no landmarks.

The first looks at a square around what a detector took for a face, the second at the square that
the first has put about the head. data_prep/package_files/head_pose.py learns them.

Camera: a pinhole without distortion. Its frame is the canonical frame's for a frontal face: +x to
the right of the photo, +y up, +z from the face to the camera, which sits at the origin and looks
along -z. A point (x, y, z) mm is seen at column u + f x / -z, row v - f y / -z, with focal length f
in pixels and principal point (u, v); pixel (0, 0) reaches from 0 to 1 either way.
"""

import functools
import os
from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.geometry import map_grid
from seqface_jax.geometry.alignment import RigidTransform

DISTANCE_MM = 1000.0  # Distance of camera and face where the focal length is not known.
FACE_BOX_MM = 157.0  # Side of a detected box, on the face; mean over synthetic people.
CENTRE = np.array([0.0, 0.0, 60.0])  # The face turns about it, mm.
SQUARE_MM = 220.0  # Side of the crop that is looked at, on the face.
LEVEL_PX = 4  # Pixels of a map of 64 x 64 over which brightness is compared.
CROP_PX = 64  # Side of that crop for the regressions.
DIRECTIONS, CELL_PX = 8, 4  # Settings of their oriented gradients, which are as those of
BLOCK_CELLS, MIN_CONTRAST = 5, 0.005  # layers.oriented_gradients.


class Camera(NamedTuple):
    """A pinhole camera, as above.

    Attributes:
        focal_px: focal length, pixels.
        centre: [2] principal point, column and row, pixels.
    """

    focal_px: float
    centre: np.ndarray

    def project(self, points):
        """Returns where points [..., 3] mm of the camera's frame are seen, [..., 2] pixels."""
        scale = self.focal_px / np.maximum(-points[..., 2:], 1.0)
        return self.centre + scale * points[..., :2] * np.array([1.0, -1.0])


class Pose(NamedTuple):
    """Where a head is in one photo.

    Attributes:
        transform: RigidTransform, canonical frame to camera frame, mm.
        camera: Camera.
        score: correlation of reference and photo, -1 to 1; below MIN_SCORE do not trust it.
    """

    transform: RigidTransform
    camera: Camera
    score: float

    def project(self, points):
        """Returns where canonical points [..., 3] mm are seen, [..., 2] pixels of the photo."""
        return self.camera.project(self.transform.apply(points))

    @property
    def angles_rad(self):
        """[3] yaw (to the subject's left), pitch (down) and roll (to the subject's right)."""
        return Rotation.from_matrix(self.transform.rotation).as_euler('YXZ')


def assumed_camera(box):
    """Returns a Camera that looks straight at a detected face from DISTANCE_MM.

    What a photo of unknown lens allows: depth is then right up to a factor, angles are relative
    to the line from the camera to the face, and what is near is seen larger about as it should be.

    Args:
        box: [4] x0, y0, x1, y1, as face_detection.DetectedFace.box.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    focal_px = (x1 - x0) / FACE_BOX_MM * DISTANCE_MM
    return Camera(focal_px, np.array([(x0 + x1) / 2, (y0 + y1) / 2]))


def regress(photo, square, camera, stages=(0, 1)):
    """Returns the Pose that the two regressions say; its score is 0.

    Args:
        photo: [H, W, 3] uint8 RGB.
        square: [4] x0, y0, x1, y1 in pixels, where to look first: crops.crop_box of what
            a detector found.
        camera: Camera of the photo.
        stages: the regressions in their order, each at the square that the one before has found.
    """
    learnt = known()
    square = np.asarray(square, np.float64)
    for stage in stages:
        features = gradients(crop_of(photo, square)[None])[0]
        answer = features @ learnt['weights'][stage] + learnt['bias'][stage]
        found = _pose_of(answer, square, camera)
        square = square_of(found)
    return found


def likeness(photo, pose):
    """Tells how much a photo looks like a face where a pose says that there is one.

    Args:
        photo: [H, W, 3] uint8 RGB.
        pose: Pose.

    Returns:
        Correlation of the mean face's looks with what the photo shows at its points, both freed of
        slow changes; from -1 to 1. Beyond 0.15 for 99 % of faces of known pose.
    """
    learnt = known()
    points, looks = learnt['points'].astype(np.float64), learnt['looks'][::2, ::2]
    seen = pose.transform.apply(points.reshape(-1, 3)).reshape(points.shape)
    normals = map_grid.normals(points) @ pose.transform.rotation.T
    cosine = -(normals * seen).sum(axis=-1) / np.linalg.norm(seen, axis=-1)
    weights = np.clip((cosine - 0.3) / 0.2, 0, 1).astype(np.float32)
    weights[: len(points) // 6] = weights[-len(points) // 7 :] = 0  # Hair, and below the chin.
    if not weights.any():
        return -1.0
    place = np.float32(pose.camera.project(seen) - 0.5)
    read = cv2.remap(
        photo, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    read, looks = (
        _level(image.astype(np.float32), weights) for image in (read.mean(axis=-1), looks)
    )
    return float(correlation(*(array.ravel() for array in (read, looks, weights))))


def correlation(x, y, weights):
    """Returns the weighted correlation of x [N] and y [N], -1 to 1; 0 if one does not vary."""
    x, y = (values - np.average(values, weights=weights) for values in (x, y))
    product = (weights * x) @ y
    return product / np.sqrt(max(((weights * x) @ x) * ((weights * y) @ y), 1e-12))


def _level(image, weights):
    """Frees an image [S, S] of slow changes and scales its contrast, where the weights are."""

    def smooth(values):
        total = cv2.GaussianBlur(weights, (0, 0), LEVEL_PX)
        return cv2.GaussianBlur(values * weights, (0, 0), LEVEL_PX) / np.maximum(total, 1e-3)

    image = cv2.GaussianBlur(image, (0, 0), 0.75)
    image = image - smooth(image)
    return image / (np.sqrt(smooth(image**2)) + 3.0)  # 3 gray levels: below it lies noise.


def square_of(pose):
    """Returns the square around a head, [4] x0, y0, x1, y1 in pixels: SQUARE_MM about CENTRE."""
    centre = pose.transform.apply(CENTRE)
    half = SQUARE_MM / 2 * pose.camera.focal_px / np.linalg.norm(centre)
    middle = pose.camera.project(centre)
    return np.concatenate([middle - half, middle + half])


def crop_of(photo, square, side=CROP_PX):
    """Returns the pixels of a square, [side, side, 3] uint8; beyond the photo its edge goes on."""
    zoom = side / (square[2] - square[0])
    if zoom < 0.499:  # Each pixel must see all that it stands for.
        # Shrinking all of a large photo would take longest.
        photo, corner = _part_of(photo, square)
        photo = cv2.resize(photo, None, fx=2 * zoom, fy=2 * zoom, interpolation=cv2.INTER_AREA)
        return crop_of(photo, (np.asarray(square) - np.tile(corner, 2)) * 2 * zoom, side)
    # OpenCV's places are pixel middles, ours are pixel corners.
    shift = -zoom * np.asarray(square[:2]) + 0.5 * zoom - 0.5
    motion = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    return cv2.warpAffine(photo, motion, (side, side), borderMode=cv2.BORDER_REPLICATE)


def _part_of(photo, square):
    """Returns the part of a photo that a square and a tenth about it cover, and its corner [2]."""
    height, width = photo.shape[:2]
    margin = 0.1 * (square[2] - square[0])
    x0, y0 = (int(np.clip(square[k] - margin, 0, end - 1)) for k, end in ((0, width), (1, height)))
    x1, y1 = (int(np.ceil(square[k] + margin)) for k in (2, 3))
    return photo[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], np.array([x0, y0])


def answer_of(pose, square):
    """Returns what the regressions should say of a square, [6]; the inverse of `_pose_of`.

    Rotation vector [3] relative to the ray through the square's middle; where CENTRE is seen from
    the middle, [2], in sides; logarithm of its size, SQUARE_MM over what the side spans.
    """
    side, middle = square[2] - square[0], (square[:2] + square[2:]) / 2
    centre = pose.transform.apply(CENTRE)
    turn = _towards(pose.camera, middle) @ pose.transform.rotation
    size = pose.camera.focal_px / np.linalg.norm(centre) * SQUARE_MM / side
    shift = (pose.camera.project(centre) - middle) / side
    return np.concatenate([Rotation.from_matrix(turn).as_rotvec(), shift, [np.log(size)]])


def gradients(crops):
    """Returns the oriented gradients of crops [N, 64, 64, 3] uint8, [N, 2048] float32.

    Those of layers.oriented_gradients.OrientedGradients, without a device: preparation looks at
    photos in many processes, none of which should take one.
    """
    gray = crops.astype(np.float32).mean(axis=-1) / 255
    gray = np.pad(gray, ((0, 0), (1, 1), (1, 1)), mode='edge')
    across = (gray[:, 1:-1, 2:] - gray[:, 1:-1, :-2]) / 2
    down = (gray[:, 2:, 1:-1] - gray[:, :-2, 1:-1]) / 2
    strength = np.sqrt(across**2 + down**2 + 1e-12)
    # Between two directions, the last of which is next to the first; each gets its share.
    place = np.arctan2(down, across) / np.pi * DIRECTIONS % DIRECTIONS
    lower = np.floor(place).astype(int)
    share = place - lower
    votes = np.zeros((*gray.shape[:1], CROP_PX, CROP_PX, DIRECTIONS), np.float32)
    for index, part in ((lower, 1 - share), (lower + 1, share)):
        index = index % DIRECTIONS
        votes[(*np.indices(index.shape), index)] += part * strength
    cells = _sums(votes, CELL_PX // 2, CELL_PX, 2) / (2 * CELL_PX) ** 2
    contrast = cells.mean(axis=-1, keepdims=True)
    middle = BLOCK_CELLS // 2
    contrast = _sums(contrast, middle, 1, BLOCK_CELLS) / BLOCK_CELLS**2
    return (cells / (contrast + MIN_CONTRAST / DIRECTIONS)).reshape(len(crops), -1)


def _sums(values, pad, stride, count):
    """Sums values [N, H, W, C], with `pad` zeros around, over windows of count x count strides."""
    values = np.pad(values, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    side = values.shape[1] // stride
    blocks = values.reshape(len(values), side, stride, side, stride, -1).sum(axis=(2, 4))
    number = side - count + 1
    rows = sum(blocks[:, k : k + number] for k in range(count))
    return sum(rows[:, :, k : k + number] for k in range(count))


@functools.cache
def known():
    """Returns the arrays of head_pose.npz: weights [2, 2048, 6], bias [2, 6], looks
    [128, 128] and points [64, 64, 3] mm of the mean face, every second pixel of a map."""
    with np.load(os.path.join(os.path.dirname(__file__), 'head_pose.npz')) as arrays:
        arrays = dict(arrays)
    return arrays | {'weights': arrays['weights'].astype(np.float32)}


def _pose_of(answer, square, camera):
    side, middle = square[2] - square[0], (square[:2] + square[2:]) / 2
    rotation = _towards(camera, middle).T @ Rotation.from_rotvec(answer[:3]).as_matrix()
    distance = camera.focal_px * SQUARE_MM / (side * np.exp(answer[5]))
    ray = _ray(camera, middle + answer[3:5] * side)
    return Pose(RigidTransform(rotation, distance * ray - rotation @ CENTRE), camera, 0.0)


def _ray(camera, place):
    """Returns the unit direction from the camera through a place of the photo, [3]."""
    x, y = (place - camera.centre) / camera.focal_px
    return np.array([x, -y, -1.0]) / np.linalg.norm([x, y, 1.0])


def _towards(camera, place):
    """Returns the shortest rotation that carries the ray through a place onto -z, [3, 3]."""
    ray = _ray(camera, place)
    axis = np.cross(ray, [0, 0, -1.0])
    sine = np.linalg.norm(axis)
    angle = np.arctan2(sine, -ray[2])
    return Rotation.from_rotvec(axis / max(sine, 1e-12) * angle).as_matrix()
