"""Head pose: the reconstructed face laid over a photo, until its looks agree with the photo's.

No landmarks. Two linear regressions from oriented gradients (data_prep/synthetic/head_pose.py) give
a first pose, the second on a crop that the first has centred. Then what a face looks like in the
position map's grid (the mean face's looks or, where it is known, the person's own texture) is
carried into the photo by the 3D points of the reconstruction, and the six numbers are refined by
Gauss-Newton steps until brightness agrees, both sides freed of slow changes (light, skin) and
scaled to equal contrast: Lucas and Kanade, 1981, on a 3D model, coarse to fine, with robust weights
because expressions, glasses and hair are not in the reference.

Camera: a pinhole without distortion. Its frame is the canonical frame's for a frontal face: +x to
the right of the photo, +y up, +z from the face to the camera, which sits at the origin and looks
along -z. A point (x, y, z) mm is seen at column u + f x / -z, row v - f y / -z, with focal length f
in pixels and principal point (u, v); pixel (0, 0) reaches from 0 to 1 either way.
"""

import functools
import os
from typing import NamedTuple

import cv2
import jax
import numpy as np
from scipy import spatial

from seqface_jax import face_detection, position_map
from seqface_jax.alignment import RigidTransform
from seqface_jax.models.oriented_gradients import OrientedGradients

DISTANCE_MM = 1000.0  # Of camera and face, where the focal length is not known.
FACE_BOX_MM = 157.0  # Side of a detected box, on the face; mean over synthetic people.
MIN_SCORE = 0.25  # Below it the pose is a guess.
CENTRE = np.array([0.0, 0.0, 60.0])  # The face turns about it, mm.
SQUARE_MM = 220.0  # Side of the crop that is looked at, on the face.
_REGRESSED_PX = 64  # Side of that crop for the regressions; 8 directions, cells of 4 pixels.
_REFINED_PX = 128  # And for the refinement.
_MAP_PIXEL_MM = 2.1  # About, on the cheek.
_WINDOW_MM = 20.0  # Brightness is compared with that of its surroundings so far.
_MIN_CONTRAST = 2.0  # Gray levels: below it lies noise.
_BLURS_MM = (4.0, 2.0)  # Coarse to fine.
_STEPS = (8, 6)  # At most, at each blur.
_STRIDE = 2  # Of the map's points.
# Usual errors of the regressions: rotation about x, y, z in rad, across and up in mm, ln distance.
_SPREAD = np.array([0.06, 0.04, 0.02, 3.0, 3.0, 0.04])
_INDEPENDENT_MM = 12.0  # Points nearer to each other than this say the same.
_ROBUST = 1.5  # Residuals beyond this many usual ones count less and less.
_MIN_COS = 0.25  # Points seen flatter than this do not count.
_TINY_STEP = 1e-3  # Of _SPREAD.


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
        return spatial.transform.Rotation.from_matrix(self.transform.rotation).as_euler('YXZ')


def assumed_camera(box):
    """Returns a Camera that looks straight at a detected face from DISTANCE_MM.

    What a photo of unknown lens allows: depth is then right up to a factor, angles are relative
    to the line from the camera to the face, and what is near is seen larger about as it should be.

    Args:
        box: [4] x0, y0, x1, y1, as face_detection.Face.box.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    focal_px = (x1 - x0) / FACE_BOX_MM * DISTANCE_MM
    return Camera(focal_px, np.array([(x0 + x1) / 2, (y0 + y1) / 2]))


def fit(photo, box, points, mask, *, camera=None, looks=None):
    """Finds the head's pose in a photo.

    Args:
        photo: [H, W, 3] uint8 RGB.
        box: [4] x0, y0, x1, y1, the detected face in the photo.
        points: [S, S, 3] mm, the face as an ordered position map.
        mask: [S, S] bool, the map's pixels that are face.
        camera: Camera of the photo; assumed_camera(box) if left out.
        looks: [S, S] float32, brightness of the face at the map's pixels, NaN where it is not
            known; the mean face's if left out.

    Returns:
        Pose.
    """
    camera = assumed_camera(box) if camera is None else camera
    start = regress(photo, box, camera)
    looks = _resized(_known()['looks'].astype(np.float32) if looks is None else looks, len(mask))
    looks = np.where(mask, looks, np.nan)
    square = square_of(start)
    crop = cv2.cvtColor(crop_of(photo, square, _REFINED_PX), cv2.COLOR_RGB2GRAY)
    zoom = _REFINED_PX / (square[2] - square[0])
    small = Camera(camera.focal_px * zoom, (camera.centre - square[:2]) * zoom)
    home = state = _State(start.transform.rotation, start.transform.apply(CENTRE))
    normals = map_normals(points)
    for blur_mm, steps in zip(_BLURS_MM, _STEPS, strict=True):
        image = _level_photo(crop, blur_mm)
        reference = _Reference.make(points, normals, looks, blur_mm)
        state = _refine(state, home, reference, image, small, steps)
    transform = RigidTransform(state.rotation, state.centre - state.rotation @ CENTRE)
    return Pose(transform, camera, float(state.score))


def regress(photo, box, camera):
    """Returns the Pose that the two regressions say; its score is 0."""
    known = _known()
    square = face_detection.crop_box(box).astype(np.float64)
    for weights, bias in zip(known['weights'].astype(np.float32), known['bias'], strict=True):
        features = gradients(crop_of(photo, square)[None])[0]
        found = _pose_of(features @ weights + bias, square, camera)
        square = square_of(found)
    return found


def square_of(pose):
    """Returns the square around a head, [4] x0, y0, x1, y1 in pixels: SQUARE_MM about CENTRE."""
    centre = pose.transform.apply(CENTRE)
    half = SQUARE_MM / 2 * pose.camera.focal_px / np.linalg.norm(centre)
    middle = pose.camera.project(centre)
    return np.concatenate([middle - half, middle + half])


def crop_of(photo, square, side=_REGRESSED_PX):
    """Returns the pixels of a square, [side, side, 3] uint8; beyond the photo its edge goes on."""
    zoom = side / (square[2] - square[0])
    if zoom < 0.5:  # Each pixel must see all that it stands for.
        photo = cv2.resize(photo, None, fx=2 * zoom, fy=2 * zoom, interpolation=cv2.INTER_AREA)
        return crop_of(photo, np.asarray(square) * 2 * zoom, side)
    # OpenCV's places are pixel middles, ours are pixel corners.
    shift = -zoom * np.asarray(square[:2]) + 0.5 * zoom - 0.5
    motion = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    return cv2.warpAffine(photo, motion, (side, side), borderMode=cv2.BORDER_REPLICATE)


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
    return np.concatenate([_vector(turn), shift, [np.log(size)]])


def gradients(crops):
    """Returns the oriented gradients of crops [N, 64, 64, 3] uint8, [N, 2048] float32."""
    features = _gradients(crops.astype(np.float32) / 255)
    return np.asarray(features).reshape(len(crops), -1)


@jax.jit
def _gradients(crops):
    return OrientedGradients(features=8, stride=4).apply({}, crops, train=False)


@functools.cache
def _known():
    """Returns the arrays of head_pose.npz."""
    with np.load(os.path.join(os.path.dirname(__file__), 'head_pose.npz')) as arrays:
        return dict(arrays)


def _pose_of(answer, square, camera):
    side, middle = square[2] - square[0], (square[:2] + square[2:]) / 2
    rotation = _towards(camera, middle).T @ _matrix(answer[:3])
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
    return _matrix(axis / max(sine, 1e-12) * np.arctan2(sine, -ray[2]))


def _matrix(vector):
    return spatial.transform.Rotation.from_rotvec(vector).as_matrix()


def _vector(matrix):
    return spatial.transform.Rotation.from_matrix(matrix).as_rotvec()


def map_normals(points):
    """Returns the unit normals of a position map [S, S, 3], outwards, [S, S, 3]."""
    down, across = np.gradient(np.asarray(points, np.float64), axis=(0, 1))
    normals = np.cross(down, across)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


class _State(NamedTuple):
    """A pose under way: rotation [3, 3]; where CENTRE is in the camera's frame, [3] mm; score."""

    rotation: np.ndarray
    centre: np.ndarray
    score: float = -1.0


class _Reference(NamedTuple):
    """What the photo is compared with: places and normals [N, 3] and brightness [N]."""

    places: np.ndarray
    normals: np.ndarray
    values: np.ndarray
    spacing_mm: float

    @classmethod
    def make(cls, points, normals, looks, blur_mm):
        """Takes every _STRIDE-th row and column of a map of 128 x 128, as many of any other."""
        finest = looks.shape[0] / position_map.SIZE
        pixel_mm = _MAP_PIXEL_MM / finest
        values = _normalised(looks, blur_mm / pixel_mm, _WINDOW_MM / pixel_mm)
        step = max(1, round(_STRIDE * finest))
        rows = (slice(None, None, step),) * 2
        keep = np.isfinite(values[rows])
        places = np.asarray(points, np.float64)[rows][keep] - CENTRE
        return cls(places, normals[rows][keep], values[rows][keep], step * pixel_mm)


def _resized(looks, side):
    if len(looks) == side:
        return looks
    return cv2.resize(looks, (side, side), interpolation=cv2.INTER_LINEAR)


def _level_photo(crop, blur_mm):
    """Returns brightness, its slope across and its slope down, [H, W, 3] float32."""
    pixel_mm = SQUARE_MM / _REFINED_PX
    image = _normalised(crop.astype(np.float32), blur_mm / pixel_mm, _WINDOW_MM / pixel_mm)
    down, across = np.gradient(image)
    return np.stack([image, across, down], axis=-1).astype(np.float32)


def _normalised(image, blur, window):
    """Frees an image of slow changes and scales its contrast; what is NaN stays so.

    Args:
        image: [H, W] gray levels.
        blur, window: standard deviations, pixels.
    """
    known = np.isfinite(image)
    weight = known.astype(np.float32)
    image = np.where(known, image, 0).astype(np.float32)

    def smooth(values, sigma):
        values = cv2.GaussianBlur(values * weight, (0, 0), sigma)
        return values / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)

    image = smooth(image, blur)
    image = image - smooth(image, window)
    contrast = np.sqrt(smooth(image**2, window))
    return np.where(known, image / (contrast + _MIN_CONTRAST), np.nan)


def _refine(pose, home, reference, image, camera, steps):
    """Takes Gauss-Newton steps, held by how far regressed poses usually err; returns a _State."""
    for _ in range(steps):
        seen = _look(pose, reference, image, camera)
        if seen is None:
            return home._replace(score=-1.0)
        step = _step(seen, reference, _offset(pose, home))
        size = np.abs(step / _SPREAD).max()
        step = step / max(1.0, size)
        shift = np.array([step[3], step[4], 0.0])
        rotation = _matrix(step[:3]) @ pose.rotation
        pose = _State(rotation, pose.centre * np.exp(step[5]) + shift)
        if size < _TINY_STEP:
            break
    seen = _look(pose, reference, image, camera)
    return home._replace(score=-1.0) if seen is None else pose._replace(score=seen[3])


def _step(seen, reference, offset):
    """Returns the next step, [6] as _SPREAD."""
    values, jacobian, weights, _ = seen
    # The photo's contrast and level are not the reference's: two more unknowns.
    known = np.column_stack([reference.values, np.ones(len(values))])
    level = np.linalg.lstsq(known * np.sqrt(weights)[:, None], values * np.sqrt(weights))[0]
    residual = values - known @ [max(level[0], 0.1), level[1]]
    usual = np.sqrt(np.average(residual**2, weights=weights)) + 1e-6
    weights = weights / (1 + (residual / (_ROBUST * usual)) ** 2) ** 2
    weights = weights * min(1.0, (reference.spacing_mm / _INDEPENDENT_MM) ** 2) / usual**2
    design = np.column_stack([jacobian, -known])
    normal = design.T @ (weights[:, None] * design)
    normal[:6, :6] += np.diag(1 / _SPREAD**2)
    normal[6:, 6:] += 1e-6 * np.eye(2)
    right = -design.T @ (weights * residual)
    right[:6] -= offset / _SPREAD**2
    return np.linalg.solve(normal, right)[:6]


def _offset(pose, home):
    """Returns how far a pose has gone from where it began, [6] as _SPREAD."""
    grown = pose.centre[2] / home.centre[2]
    shift = pose.centre[:2] / grown - home.centre[:2]
    return np.concatenate([_vector(pose.rotation @ home.rotation.T), shift, [np.log(grown)]])


def _look(pose, reference, image, camera):
    """Compares the reference with the photo.

    Returns:
        Photo's values [N], their derivatives [N, 6] by rotation vector, shift across and up in mm
        and logarithm of the distance, weights [N], and the correlation; None if too little of the
        face is inside the crop.
    """
    turned = reference.places @ pose.rotation.T
    points = turned + pose.centre
    normals = reference.normals @ pose.rotation.T
    towards = -points / np.linalg.norm(points, axis=1, keepdims=True)
    weights = np.clip((normals * towards).sum(1) - _MIN_COS, 0, None)
    place = camera.project(points)
    inside = (place > 1).all(1) & (place < _REFINED_PX - 1).all(1)
    weights = weights * inside
    if inside.mean() < 0.5 or weights.sum() <= 0:
        return None
    sampled = _sample(image, place)
    values, slope = sampled[:, 0], sampled[:, 1:]
    inverse_depth = -1 / points[:, 2]
    scale = camera.focal_px * inverse_depth
    # d value / d point, by the chain through column f x / -z and row -f y / -z.
    by_x, by_y = slope[:, 0] * scale, -slope[:, 1] * scale
    by_z = (by_x * points[:, 0] + by_y * points[:, 1]) * inverse_depth
    by_point = np.stack([by_x, by_y, by_z], axis=1)
    jacobian = np.column_stack([np.cross(turned, by_point), by_x, by_y, by_point @ pose.centre])
    return values, jacobian, weights, _correlation(values, reference.values, weights)


def _sample(image, place):
    columns = 64  # OpenCV wants maps shorter than 32768 in every direction.
    rows = -(-len(place) // columns)
    x, y = (np.resize(place[:, k] - 0.5, (rows, columns)).astype(np.float32) for k in (0, 1))
    found = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(-1, image.shape[2])[: len(place)].astype(np.float64)


def _correlation(x, y, weights):
    x, y = (values - np.average(values, weights=weights) for values in (x, y))
    product = (weights * x) @ y
    return product / np.sqrt(max(((weights * x) @ x) * ((weights * y) @ y), 1e-12))
