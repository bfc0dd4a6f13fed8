"""The protocol of the NoW challenge: crop, alignment and distance, as published.

Sanyal et al., 2019 (arXiv:1905.06817), section 5, and the constants of the challenge's program.
The scan's vertices within 1.4 (outer eye distance + nose length) / 2 of the face's centre count,
the centre lying 0.3 of the nose's length above its base. The predicted mesh is carried on to the
scan by a similarity of least squares over seven landmarks, and then by the similarity with the
least sum of squared distances from the scan's vertices to its surface. What counts is the distance
from each vertex of the crop to the surface, in mm of the scan. Median, mean and standard deviation
are of the vertices of all photos together.

Two things are ours. The challenge's program finds the second similarity by dogleg steps, this one
by ICP over 5000 of the vertices; both have the same minimum. And a reflection, which their first
step allows, is none here.
"""

from typing import NamedTuple

import numpy as np

from seqface_jax.errors import UserError
from seqface_jax.geometry import alignment, surface

# Among the 68 landmarks (iBUG): outer and inner corner of the right eye, inner and outer corner of
# the left one, base of the nose, corners of the mouth.
LANDMARKS = (36, 39, 42, 45, 33, 48, 54)
_UP_THE_NOSE, _RADIUS = 0.3, 1.4
_VOTERS = 5000
_TOLERANCE_MM = 1e-4


class NowTarget(NamedTuple):
    """What a person's scan gives to be scored against.

    Attributes:
        points: [N, 3] mm, the scan's vertices within the crop.
        landmarks: [7, 3] mm.
    """

    points: np.ndarray
    landmarks: np.ndarray


def make_target(vertices, landmarks):
    """Returns the NowTarget of a scan.

    Args:
        vertices: [V, 3] mm.
        landmarks: [7, 3] mm.

    Raises:
        UserError: no vertex lies in the crop.
    """
    centre, radius = crop(landmarks)
    points = vertices[np.linalg.norm(vertices - centre, axis=1) <= radius]
    if not len(points):
        raise UserError(
            f'no vertex of the scan lies within {radius:.0f} mm of the face that its landmarks '
            'tell: use scan and landmarks of one person'
        )
    return NowTarget(points, landmarks)


def crop(landmarks):
    """Returns the middle [3] and the radius [] of the crop of landmarks [7, 3], their unit."""
    nose_base = landmarks[4]
    bridge = (landmarks[1] + landmarks[2]) / 2
    eyes = np.linalg.norm(landmarks[0] - landmarks[3])
    nose = np.linalg.norm(bridge - nose_base)
    return nose_base + _UP_THE_NOSE * (bridge - nose_base), _RADIUS * (eyes + nose) / 2


def distances(vertices, triangles, landmarks, target):
    """Returns the distance of each point of a NowTarget from a face, [N] mm of the scan.

    Args:
        vertices: [V, 3] any unit; triangles: [F, 3].
        landmarks: [7, 3] of the face, its unit.
        target: NowTarget.
    """
    placed = alignment.Similarity(*alignment.umeyama(landmarks, target.landmarks))
    face = surface.Surface(placed.apply(np.asarray(vertices, np.float64)), triangles)
    voters = target.points[:: max(1, len(target.points) // _VOTERS)]
    found = alignment.similarity_icp(voters, face, fixed='points', tolerance_mm=_TOLERANCE_MM)
    return face.closest(found.apply(target.points)).distance / found.scale


def pooled(distances_mm):
    """Returns median, mean and standard deviation of distances of all photos together, mm.

    Args:
        distances_mm: list of [N] arrays, one for each photo or person.
    """
    every = np.concatenate(distances_mm)
    return float(np.median(every)), float(every.mean()), float(every.std())
