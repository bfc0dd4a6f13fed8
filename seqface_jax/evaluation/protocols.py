"""The four published ways to score a face on MICC Florence: named modes of one function.

They differ in crop, alignment, scale, direction and unit, so that their numbers never belong into
one column. None of the four tells a collapsed prediction by itself (see the tests): read them
beside `metrics.scan_to_mesh_mm` and `metrics.coverage`.

thesis: Thomassen, 2022, and Lium et al., 2021 (J. Imaging 7, 169). Rigid ICP of the predicted
    points to the scan's, mean distance to the nearest point over the diagonal of the scan's
    bounding box. Lium posed by hand first; here all start from the canonical frame.
crop_95mm: Tran et al., 2017; Genova et al., 2018; Deng et al., 2019 (arXiv:1903.08527). The scan
    is cropped 95 mm around its nose tip; ICP with one scale per face; root mean square, over the
    scan's vertices, of the distance to the plane of the closest predicted triangle. Their code
    was never published: root mean square, one scale per face and the scan's vertices are what
    Deng et al.'s author says (github.com/microsoft/Deep3DFaceReconstruction/issues/23). Their
    further cut of the forehead is not described well enough to be repeated.
both_directions: Gecer et al., 2019 (GANFIT, arXiv:1902.05978), as in their published script. A
    registered scan (here: its position map) and the prediction are each cropped 95 mm around
    their nose tips (60 mm for subject 28) and carried on to the other by ICP with scale; the mean
    of the two mean distances. Theirs is the lesser of two scans of each person; here one is known.
interocular: Feng et al., 2018 (PRNet, arXiv:1803.07835), after Jackson et al., 2017. Rigid ICP,
    mean distance from the scan's points to the nearest predicted ones, over the distance of the
    scan's outer eye corners, in 3D. They know the scan's size in the image; here the answer is in
    mm, and no scale is fitted.
"""

from typing import NamedTuple

import numpy as np
from scipy import spatial

from seqface_jax.evaluation import metrics
from seqface_jax.geometry import alignment, face_regions, map_grid, surface

UNITS = {  # By name of the mode.
    'thesis': 'of the bounding box',
    'crop_95mm': 'mm',
    'both_directions': 'mm',
    'interocular': 'of the eyes',
}
NAMES = tuple(UNITS)
_VOTERS = 1500  # Points that align; seven numbers are sought.
_NOSE_MM = 40.0  # The nose tip is the foremost point this near to the middle.
_TIGHT_CROP_MM = {'subject_28': 60.0}  # both_directions; by subject of Florence.


class Target(NamedTuple):
    """What a person's scan gives to be scored against; mm, canonical frame.

    Attributes:
        subject: str.
        scan: surface.Surface, at least what lies within 95 mm of the nose tip.
        points: [N, 3], sampled from the whole scan.
        registered: surface.Surface, the scan as a position map.
        eye_corners: [2, 3], the outer ones, the subject's right one first.
    """

    subject: str
    scan: surface.Surface
    points: np.ndarray
    registered: surface.Surface
    eye_corners: np.ndarray


def make_target(subject, scan, points, face_map, mask):
    """Returns the Target of a subject's record.

    Args:
        subject: str.
        scan: surface.Surface, the 95 mm crop of the scan.
        points: [N, 3] mm.
        face_map: [128, 128, 3] mm, the scan as a position map.
        mask: [128, 128] bool.
    """
    vertices, triangles = surface.from_prediction(face_map, ordered=True, mask=mask)
    rows, columns = np.nonzero(mask)
    corners = face_regions.landmark_pixels(len(mask))[list(face_regions.OUTER_EYE_CORNERS)]
    away = (rows - corners[:, :1]) ** 2 + (columns - corners[:, 1:]) ** 2
    nearest = away.argmin(axis=1)  # The pixel itself, where the scan has no hole there.
    eye_corners = face_map[rows[nearest], columns[nearest]]
    registered = surface.Surface(vertices, triangles)
    return Target(subject, scan, points, registered, eye_corners)


def score(protocol, predicted, target):
    """Scores one face by a published protocol of MICC Florence.

    Args:
        protocol: one of NAMES; the head of this file describes them.
        predicted: surface.Surface, mm, canonical frame.
        target: Target.

    Returns:
        float, in UNITS[protocol]; 0 is best.

    Raises:
        ValueError: there is no such protocol.
    """
    if protocol not in _SCORES:
        raise ValueError(f"there is no protocol '{protocol}': choose of {', '.join(NAMES)}")
    return float(_SCORES[protocol](predicted, target))


def nose_tip(vertices):
    """Returns the foremost (largest z) of the points near the middle of a face, [3] mm."""
    near = np.hypot(vertices[:, 0], vertices[:, 1]) < _NOSE_MM
    candidates = vertices[near] if near.any() else vertices
    return candidates[candidates[:, 2].argmax()]


def _thesis(predicted, target):
    return metrics.nme_thesis(predicted.vertices, target.points)


def _crop_95mm(predicted, target):
    points = _crop(metrics.scan_points(target.scan), map_grid.CROP_RADIUS_MM)
    transform = alignment.similarity_icp(_thinned(points), predicted, fixed='points')
    moved = transform.apply(points)
    hits = predicted.closest(moved)
    normal = predicted.normals[hits.triangle]
    across = np.abs(((moved - hits.point) * normal).sum(axis=1))
    # A triangle without area has no plane: there the distance itself counts.
    distance = np.where((normal**2).sum(axis=1) > 0, across, hits.distance)
    return np.sqrt(np.mean((distance / transform.scale) ** 2))


def _both_directions(predicted, target):
    radius_mm = _TIGHT_CROP_MM.get(target.subject, map_grid.CROP_RADIUS_MM)
    found = []
    for source, other in ((target.registered, predicted), (predicted, target.registered)):
        points = _crop(metrics.scan_points(source), radius_mm)
        transform = alignment.similarity_icp(_thinned(points), other, fixed='surface')
        found.append(other.closest(transform.apply(points)).distance.mean())
    return np.mean(found)


def _interocular(predicted, target):
    points = _crop(metrics.scan_points(target.scan), map_grid.CROP_RADIUS_MM)
    transform, _ = alignment.icp_thesis(_thinned(points), predicted.vertices)
    distance, _ = spatial.cKDTree(predicted.vertices).query(transform.apply(points))
    return distance.mean() / np.linalg.norm(np.subtract(*target.eye_corners))


_SCORES = {
    'thesis': _thesis,
    'crop_95mm': _crop_95mm,
    'both_directions': _both_directions,
    'interocular': _interocular,
}


def _crop(vertices, radius_mm):
    return vertices[np.linalg.norm(vertices - nose_tip(vertices), axis=1) <= radius_mm]


def _thinned(points):
    return points[:: max(1, len(points) // _VOTERS)]
