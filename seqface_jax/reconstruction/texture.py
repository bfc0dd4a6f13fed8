"""The colour of a face in the position map's grid, gathered from any number of photos.

Each photo is seen through its pose: a texel takes the colour of the place where it is seen,
weighted by whether it is visible (z-buffer, with soft edges, so that no seam shows), how flatly it
is seen, how well the pose fits and how sure the reconstruction is there. Only the weighted sum of
colours and the sum of weights are kept, so memory does not grow. What no photo shows is taken from
the other half of the face, and what neither shows is filled smoothly.
"""

from typing import NamedTuple

import cv2
import numpy as np

from seqface_jax.geometry import map_grid, rendering
from seqface_jax.photos import pose_fitting

SIZE = 512  # Texels, both ways, unless told.
_MAP_MM = 270.0  # What the map spans on a face, about, either way.
_MIN_COS = 0.2  # Seen flatter than this a texel takes no colour.
_SHARPNESS = 3  # Power of the frontal view's preference: blur comes from mixing views.
_FIT = 4  # Power of the pose's score: few photos that fit well give more detail than many.
_BEHIND_MM = 4.0  # A texel so far behind what is seen first is hidden.
_DEPTH_PX = 192  # Side of the z-buffer.
_EDGE = 0.012  # Width of the fade at the edge of what is visible, as a share of the texture's side.
_MIRROR = 0.02  # Weight of the other half's colour beside a texel's own.
_KNOWN = 1e-3  # Weight from which on a colour counts.
_MAX_GAIN = 1.6  # Photos are made as bright as those before by at most this factor.


class Texture(NamedTuple):
    """What was seen so far.

    Attributes:
        colors: [S, S, 3] float32, the weighted sum of RGB in [0, 255].
        weights: [S, S] float32.
    """

    colors: np.ndarray
    weights: np.ndarray


def empty(size=SIZE):
    """Returns the Texture before the first photo."""
    return Texture(np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32))


def map_of(vertices, mask):
    """Returns the whole position map of a face's vertices, continued smoothly beyond the mask.

    Args:
        vertices: [V, 3] mm, in the order of the mask's pixels.
        mask: [S, S] bool.
    """
    directions = map_grid.ray_directions(len(mask))
    radius = np.zeros(mask.shape, np.float32)
    radius[mask] = (np.asarray(vertices) * directions[mask]).sum(-1)
    points = fill(radius[..., None], mask.astype(np.float32)) * directions
    points[mask] = vertices
    return points


def add(texture, photo, pose, points, mask, confidence=None):
    """Takes one more photo into account.

    Args:
        texture: Texture.
        photo: [H, W, 3] uint8 RGB.
        pose: pose.Pose of the face in it; one below pose.MIN_SCORE changes nothing.
        points: [M, M, 3] mm, the face as an ordered position map.
        mask: [M, M] bool, the map's pixels that are face.
        confidence: [V] in [0, 1], of the mask's pixels; all alike if left out.

    Returns:
        Texture.
    """
    if pose.score < pose_fitting.MIN_SCORE:
        return texture
    size = len(texture.weights)
    trust = np.zeros(mask.shape, np.float32)
    trust[mask] = 1.0 if confidence is None else confidence
    texels = _to_texels(np.asarray(points, np.float32), size)
    trust = np.clip(_to_texels(trust, size), 0, 1)
    photo, pose = _at_texel_scale(photo, pose, size)
    place = pose.project(texels)
    seen = pose.transform.apply(texels)
    normals = map_grid.normals(texels.astype(np.float64)) @ pose.transform.rotation.T
    towards = -seen / np.linalg.norm(seen, axis=-1, keepdims=True)
    facing = np.clip(((normals * towards).sum(-1) - _MIN_COS) / (1 - _MIN_COS), 0, 1)
    height, width = photo.shape[:2]
    inside = ((place > 1) & (place < [width - 1, height - 1])).all(-1)
    visible = inside & ~_hidden(pose, seen, points, mask) & (facing > 0) & (trust > 0)
    weights = _fade(visible, size) * facing**_SHARPNESS * trust * pose.score**_FIT
    x, y = np.moveaxis(place.astype(np.float32) - 0.5, -1, 0)
    colors = cv2.remap(photo, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colors = colors.astype(np.float32) * _gain(texture, colors, weights)
    weights = weights.astype(np.float32)
    return Texture(texture.colors + colors * weights[..., None], texture.weights + weights)


def finish(texture):
    """Returns the picture of a Texture, [S, S, 3] uint8 RGB; gray if nothing was seen."""
    colors = texture.colors + _MIRROR * texture.colors[:, ::-1]
    weights = texture.weights + _MIRROR * texture.weights[:, ::-1]
    if weights.max() <= 0:
        return np.full(colors.shape, 128, np.uint8)
    known = np.clip(weights / (_MIRROR * _KNOWN), 0, 1)
    mean = colors / np.maximum(weights, 1e-12)[..., None]
    return np.clip(np.round(fill(mean, known)), 0, 255).astype(np.uint8)


def looks(texture, size=map_grid.SIZE):
    """Returns brightness at the map's pixels, [size, size] float32, NaN where nothing was seen."""
    mean = texture.colors / np.maximum(texture.weights, 1e-12)[..., None]
    gray = np.where(texture.weights > _KNOWN, mean.mean(-1), np.nan).astype(np.float32)
    place = (np.linspace(0, 1, size) * len(gray)).clip(0, len(gray) - 1).astype(int)
    return gray[np.ix_(place, place)]


def fill(values, known):
    """Fills an image smoothly from what is known: from coarse to fine, each level from the last.

    Gortler et al., 1996 (push-pull).

    Args:
        values: [H, W, C].
        known: [H, W] in [0, 1], how far a value is known.

    Returns:
        [H, W, C] float32.
    """
    values, known = np.asarray(values, np.float32), np.asarray(known, np.float32)
    height, width = known.shape
    channels = values.shape[2]
    if min(height, width) <= 1 or known.min() >= 1:
        total = np.maximum(known.sum(), 1e-12)
        mean = (values * known[..., None]).sum((0, 1)) / total
        return np.where(known[..., None] > 0, values, mean)
    half = (-(-width // 2), -(-height // 2))
    coarse_known = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(values * known[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = coarse.reshape(*half[::-1], channels)
    coarse = coarse / np.maximum(coarse_known, 1e-12)[..., None]
    below = fill(coarse, np.minimum(1, 4 * coarse_known))
    below = cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR)
    below = cv2.GaussianBlur(below, (0, 0), 1.0).reshape(values.shape)
    return below + known[..., None] * (values - below)


def _to_texels(field, size):
    """Returns a field of the map, [M, M, ...] float32, at the middles of texels, [size, size, ...].

    The map's first pixel lies on the texture's edge (map_grid.grid_uv).
    """
    place = ((np.arange(size) + 0.5) / size * (len(field) - 1)).astype(np.float32)
    x, y = np.meshgrid(place, place)
    return cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _at_texel_scale(photo, pose, size):
    """Shrinks a photo that shows much more than texels can hold, and its camera with it."""
    pixel_mm = np.linalg.norm(pose.transform.translation) / pose.camera.focal_px
    zoom = pixel_mm / (_MAP_MM / size)
    if zoom > 0.7:
        return photo, pose
    height, width = (max(1, round(side * zoom)) for side in photo.shape[:2])
    ratio = np.array([width / photo.shape[1], height / photo.shape[0]])
    camera = pose_fitting.Camera(pose.camera.focal_px * ratio.mean(), pose.camera.centre * ratio)
    photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    return photo, pose._replace(camera=camera)


def _hidden(pose, seen, points, mask):
    """Returns which texels, seen [S, S, 3] mm in the camera's frame, lie behind the face."""
    triangles = map_grid.grid_triangles(mask)
    moved = pose.transform.apply(np.asarray(points, np.float64).reshape(-1, 3))
    square = pose_fitting.square_of(pose)
    zoom = _DEPTH_PX / (square[2] - square[0])
    screen = (pose.camera.project(moved) - square[:2]) * zoom
    pixel, triangle, weights = rendering.fragments(screen, moved[:, 2], triangles, _DEPTH_PX)
    depth = np.full(_DEPTH_PX**2, -np.inf)
    depth[pixel] = (moved[triangles[triangle], 2] * weights).sum(1)
    place = ((pose.camera.project(seen) - square[:2]) * zoom).astype(int)
    inside = ((place >= 0) & (place < _DEPTH_PX)).all(-1)
    place = place.clip(0, _DEPTH_PX - 1)
    first = depth[place[..., 1] * _DEPTH_PX + place[..., 0]]
    return inside & (seen[..., 2] < first - _BEHIND_MM)


def _fade(visible, size):
    """Returns weights in [0, 1] that fall smoothly to 0 at the edge of what is visible."""
    reach = _EDGE * size
    distance = cv2.distanceTransform(np.pad(visible, 1).astype(np.uint8), cv2.DIST_L2, 3)
    share = np.clip(distance[1:-1, 1:-1] / (2 * reach), 0, 1)
    return share * share * (3 - 2 * share)


def _gain(texture, colors, weights):
    """Returns the factor per channel, [3], that makes a photo as bright as those before."""
    both = weights * np.minimum(texture.weights, 1) * (texture.weights > _KNOWN)
    if both.sum() < 1:
        return np.ones(3, np.float32)
    before = texture.colors / np.maximum(texture.weights, 1e-12)[..., None]
    ratio = (before * both[..., None]).sum((0, 1)) / np.maximum(
        (colors * both[..., None]).sum((0, 1)), 1e-6
    )
    return ratio.clip(1 / _MAX_GAIN, _MAX_GAIN).astype(np.float32)
