"""Head pose: the reconstructed face laid over a photo, until its looks agree with the photo's.

No landmarks. Two linear regressions (pose_regression.py, which also says what a camera is) give a
first pose. Then what a face looks like in the
position map's grid (the mean face's looks or, where it is known, the person's own texture) is
carried into the photo by the 3D points of the reconstruction, and the six numbers are refined by
Gauss-Newton steps until brightness agrees, both sides freed of slow changes (light, skin) and
scaled to equal contrast: Lucas and Kanade, 1981, on a 3D model, coarse to fine, with robust weights
because expressions, glasses and hair are not in the reference.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.geometry import map_grid
from seqface_jax.geometry.alignment import RigidTransform
from seqface_jax.photos import crops
from seqface_jax.photos.pose_regression import (
    CENTRE,
    SQUARE_MM,
    Camera,
    Pose,
    assumed_camera,
    correlation,
    crop_of,
    known,
    regress,
    square_of,
)

MIN_SCORE = 0.25  # Below it the pose is a guess.
_REFINED_PX = 128  # Side of the crop of SQUARE_MM that is looked at.
_MAP_PIXEL_MM = 2.1  # About, on the cheek.
_WINDOW_MM = 20.0  # Brightness is compared with that of its surroundings so far.
_MIN_CONTRAST = 2.0  # Gray levels: below it lies noise.
_BLURS_MM = (4.0, 2.0)  # Coarse to fine.
_STEPS = (8, 6)  # At most, at each blur.
_STRIDE = 2  # Stride over the map's points.
# Usual errors of the regressions: rotation about x, y, z in rad, across and up in mm, ln distance.
_SPREAD = np.array([0.06, 0.04, 0.02, 3.0, 3.0, 0.04])
_INDEPENDENT_MM = 12.0  # Points nearer to each other than this say the same.
_ROBUST = 1.5  # Residuals beyond this many usual ones count less and less.
_MIN_COS = 0.25  # Points seen flatter than this do not count.
_TINY_STEP = 1e-3  # Step, as a share of _SPREAD, that ends the fit.


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
    start = regress(photo, crops.crop_box(box), camera)
    looks = _resized(known()['looks'].astype(np.float32) if looks is None else looks, len(mask))
    looks = np.where(mask, looks, np.nan)
    square = square_of(start)
    crop = cv2.cvtColor(crop_of(photo, square, _REFINED_PX), cv2.COLOR_RGB2GRAY)
    zoom = _REFINED_PX / (square[2] - square[0])
    small = Camera(camera.focal_px * zoom, (camera.centre - square[:2]) * zoom)
    home = state = _State(start.transform.rotation, start.transform.apply(CENTRE))
    normals = map_grid.normals(np.asarray(points, np.float64))
    for blur_mm, steps in zip(_BLURS_MM, _STEPS, strict=True):
        image = _level_photo(crop, blur_mm)
        reference = _Reference.make(points, normals, looks, blur_mm)
        state = _refine(state, home, reference, image, small, steps)
    transform = RigidTransform(state.rotation, state.centre - state.rotation @ CENTRE)
    return Pose(transform, camera, float(state.score))


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
        finest = looks.shape[0] / map_grid.SIZE
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
        rotation = Rotation.from_rotvec(step[:3]).as_matrix() @ pose.rotation
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
    turn = Rotation.from_matrix(pose.rotation @ home.rotation.T).as_rotvec()
    return np.concatenate([turn, shift, [np.log(grown)]])


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
    return values, jacobian, weights, correlation(values, reference.values, weights)


def _sample(image, place):
    columns = 64  # OpenCV wants maps shorter than 32768 in every direction.
    rows = -(-len(place) // columns)
    x, y = (np.resize(place[:, k] - 0.5, (rows, columns)).astype(np.float32) for k in (0, 1))
    found = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(-1, image.shape[2])[: len(place)].astype(np.float64)
