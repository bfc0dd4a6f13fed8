"""Somebody else's landmarks as measurements for the geometric filter.

A landmark lies where an affine mixture of a few template points lies. The mixtures are fitted on
made-up pictures, whose template points are known, by least squares that is pulled to the nearest
point. What is left is the landmarks' error. Its covariance is measured on the same pictures: what
the landmarks of one picture share, as the largest principal layouts (`common` of the filter), and
the rest of each landmark, [2, 2]. All errors are in widths of the face.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from seqface_jax.photos.turned_crops import Crop
from seqface_jax.reconstruction.sighting import Sighting

NEIGHBOURS = 8  # Template points that a landmark may be a mixture of.
NUM_COMMON = 16  # Layouts of error that the landmarks of a picture share.
_NOISE = 0.01  # Standard deviation of a place, in face radii.
_WEIGHT_DEVIATION = 0.5  # Standard deviation of a mixture's weights.
_MIN_SEEN = 0.5  # Share of a landmark's neighbours that must be seen for it to teach.
_MIN_PICTURES = 8
_WIDTH_OF_HEIGHT = 0.85  # Width of the landmarks, face to the camera, by their height.
_FLOOR = 0.002  # Standard deviation that a landmark has at least, in face widths.


class LandmarkModel(NamedTuple):
    """What is measured of a detector's landmarks.

    Attributes:
        mixture: [L, P] of the template points; rows add up to 1.
        common: [R, L, 2] face widths, one standard deviation of each shared layout.
        covariance: [L, 2, 2] of what is left, in squared face widths.
    """

    mixture: np.ndarray
    common: np.ndarray
    covariance: np.ndarray


def fit(landmarks, places, seen):
    """Measures a LandmarkModel.

    Args:
        landmarks: [N, L, 2] px, of pictures in which a face was found.
        places: [N, P, 2] px, true places of the template points; seen: [N, P] bool.
    """
    mixture, taught = fit_mixture(landmarks, places, seen)
    truth = np.einsum('lp,npc->nlc', mixture, places)
    width = np.array([width_px(own) for own in truth])
    error = (landmarks - truth) / width[:, None, None]
    error = np.where(taught[:, :, None], error, 0)  # What is hidden is not measured.
    layouts, rest = _shared(error, taught)
    count = np.maximum(taught.sum(0), 1)[:, None, None]
    covariance = np.einsum('nlc,nld->lcd', rest, rest) / count + _FLOOR**2 * np.eye(2)
    return LandmarkModel(mixture, layouts, covariance)


def fit_mixture(landmarks, places, seen):
    """Fits each landmark as an affine mixture of its nearest template points.

    Returns:
        [L, P] weights, and [N, L] bool, the pictures in which a landmark was not hidden.
    """
    middle = places.mean(1, keepdims=True)
    radius = np.sqrt(((places - middle) ** 2).sum(-1).mean(1))[:, None, None]
    points, marks = (places - middle) / radius, (landmarks - middle) / radius
    nearest = np.argsort(_mean_distances(marks, points, seen), axis=1)[:, :NEIGHBOURS]
    weights = np.zeros((marks.shape[1], points.shape[1]))
    taught = np.zeros(marks.shape[:2], bool)
    ridge = (_NOISE / _WEIGHT_DEVIATION) ** 2 * np.eye(NEIGHBOURS - 1)
    for mark, own in enumerate(nearest):
        visible = seen[:, own].mean(1) > _MIN_SEEN
        taught[:, mark] = visible
        if visible.sum() < _MIN_PICTURES:
            weights[mark, own[0]] = 1
            continue
        first = points[visible, own[0]]
        design = points[visible][:, own[1:]] - first[:, None]  # [n, K - 1, 2]
        design = design.transpose(0, 2, 1).reshape(-1, NEIGHBOURS - 1)
        off = (marks[visible, mark] - first).reshape(-1)
        found = np.linalg.solve(design.T @ design + ridge, design.T @ off)
        weights[mark, own[1:]] = found
        weights[mark, own[0]] = 1 - found.sum()
    return weights, taught


def _mean_distances(marks, points, seen):
    """Returns the mean distance [L, P] of landmarks from points, where a point is seen."""
    apart = np.zeros((marks.shape[1], points.shape[1]))
    for mark, point, shown in zip(marks, points, seen, strict=True):
        apart += shown * np.linalg.norm(mark[:, None] - point, axis=-1)
    count = seen.sum(0)
    return np.where(count > 0, apart / np.maximum(count, 1), np.inf)


def point_model(base, model):
    """Returns the face_basis.PointModel of the landmarks.

    Args:
        base: PointModel of the template points that the mixtures are of.
        model: LandmarkModel.
    """
    mixture = model.mixture
    mean = mixture @ np.asarray(base.mean)
    return base._replace(
        mean=jnp.asarray(mean, jnp.float32),
        directions=jnp.asarray(mixture @ np.asarray(base.directions), jnp.float32),
        common=jnp.asarray(model.common, jnp.float32),
        width_mm=jnp.asarray(np.ptp(mean[:, 0]), jnp.float32),
    )


def sighting(places, is_seen, model):
    """Returns the Sighting of a picture's landmarks.

    Args:
        places: [L, 2] px; is_seen: [L] bool.
        model: LandmarkModel.
    """
    size = width_px(places)
    factor = np.linalg.inv(np.linalg.cholesky(model.covariance)) / size
    crop = Crop(places.mean(0), float(2 * size))
    return Sighting(crop, places, factor, np.asarray(is_seen, np.float64), 1.0)


def width_px(places):
    """Returns the width of a face at landmarks [L, 2] px, as if it looked into the camera, px."""
    # A face that turns to its side gets narrower, but not lower.
    return float(max(np.ptp(places[:, 0]), _WIDTH_OF_HEIGHT * np.ptp(places[:, 1])))


def _shared(error, taught):
    """Returns the largest principal layouts [R, L, 2] of errors [N, L, 2], and what is left."""
    flat = error.reshape(len(error), -1)
    _, singular, layouts = np.linalg.svd(flat, full_matrices=False)
    count = min(NUM_COMMON, len(layouts))
    layouts = layouts[:count]
    rest = (flat - flat @ layouts.T @ layouts).reshape(error.shape)
    deviation = singular[:count] / np.sqrt(len(error))
    scaled = (deviation[:, None] * layouts).reshape(count, *error.shape[1:])
    return scaled, np.where(taught[:, :, None], rest, 0)
