"""How far a scan of a real person is from a face: the protocol for anybody's scans.

The scan is upright: +y up, +z out of the face, mm. Points are drawn on its surface, within 80 mm
of the nose tip and seen from the front. The face is carried on to them by rigid ICP, best of seven
starts that turn it a little about its nose tip, and once by ICP with one scale for all axes. What
counts is the distance from each point of the scan to the face's surface, so that nothing of the
scan is left out. Matches farther than three times the median do not pull, but they count.
"""

from typing import NamedTuple

import numpy as np
import trimesh

from seqface_jax.errors import UserError
from seqface_jax.geometry import alignment, rendering, surface

RADIUS_MM = 80.0
NUM_POINTS = 30_000  # Drawn on the whole scan; some thousands of them lie in the face.
_SEEN_MM = 2.5  # A point this far behind the foremost surface is still seen.
_PIXEL_MM = 0.4  # Pixels of the picture that tells what is in front.
_FEW_VOTERS, _VOTERS = 500, 3000  # Points that align: every start, and the best ones once more.
_MIN_POINTS = 500
_MIN_EXTENT_MM = 60.0  # Least extent of the points, across and up.
_NOSE_BAND_MM = 15.0  # The nose tip is the foremost vertex so near to the middle.
_STARTS_DEG = ((0, 0), (8, 0), (-8, 0), (0, 8), (0, -8), (15, 0), (-15, 0))  # Pitch and yaw.
_FEW_ITERATIONS, _ITERATIONS = 12, 60  # Rounds of every start, and of the best ones.
_KEPT_STARTS = 2
_MOVED_MM = 1e-2  # A step that moves no point further ends the search.
_FAR = 3.0  # Times the median distance, from which on a match does not pull; at least _FAR_MM.
_FAR_MM = 2.0
_BAND = 1.645  # Standard deviations on each side that hold 90 % of a Gaussian.


class Fit(NamedTuple):
    """A face carried on to the points of a scan.

    Attributes:
        to_face: alignment.Similarity from the scan's frame to the face's; scale 1 if rigid.
        hits: surface.Hits of the points, in the face's frame and size.
        distance: [N] mm of the scan, from each point to the face.
    """

    to_face: alignment.Similarity
    hits: surface.Hits
    distance: np.ndarray


def scan_points(vertices, triangles, nose_tip):
    """Draws the points of a scan that are scored, the same ones each time.

    Args:
        vertices: [V, 3] mm, +y up and +z out of the face; triangles: [F, 3].
        nose_tip: [3] mm.

    Returns:
        [N, 3] mm.

    Raises:
        UserError: hardly any surface lies around the nose tip.
    """
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    points = np.asarray(trimesh.sample.sample_surface(mesh, NUM_POINTS, seed=0)[0])
    points = points[np.linalg.norm(points - nose_tip, axis=1) < RADIUS_MM]
    points = points[_is_seen(points, np.asarray(vertices), np.asarray(triangles), nose_tip)]
    extent = np.ptp(points[:, :2], axis=0) if len(points) else np.zeros(2)
    if len(points) < _MIN_POINTS or extent.min() < _MIN_EXTENT_MM:
        raise UserError(
            f'{len(points)} of {NUM_POINTS} points of the scan lie within {RADIUS_MM:.0f} mm '
            f'of its nose tip {np.round(nose_tip, 1).tolist()} and are seen from the front, '
            f'{extent[0]:.0f} x {extent[1]:.0f} mm, which is no face: give the scan in mm, upright '
            '(y up, z out of the face), cut to the head, with the right nose tip'
        )
    return points


def _is_seen(points, vertices, triangles, nose_tip):
    """Returns which points no other surface hides from a viewer far out on +z, [N] bool."""
    size = int(2 * RADIUS_MM / _PIXEL_MM)
    corner = np.asarray(nose_tip)[:2] - RADIUS_MM  # The picture shows what is scored, no more.
    screen = (vertices[:, :2] - corner) / _PIXEL_MM
    pixel, triangle, weights = rendering.fragments(screen, vertices[:, 2], triangles, size)
    front = np.full(size * size, -np.inf)
    front[pixel] = (vertices[triangles[triangle], 2] * weights).sum(1)
    place = np.floor((points[:, :2] - corner) / _PIXEL_MM).astype(int)
    column, row = np.clip(place, 0, size - 1).T
    return points[:, 2] > front[row * size + column] - _SEEN_MM


def fit(face, points, nose_tip, *, scaled=False):
    """Carries a face on to the points of a scan.

    Args:
        face: surface.Surface, mm, canonical frame.
        points: [N, 3] mm, of `scan_points`.
        nose_tip: [3] mm, of the scan.
        scaled: whether the face may change its size; then there is one start.

    Returns:
        The Fit of the start whose mean distance is least.
    """
    few, many = (points[:: max(1, len(points) // count)] for count in (_FEW_VOTERS, _VOTERS))
    starts = [_start(face, nose_tip, start) for start in _STARTS_DEG]
    if scaled:
        return _finish(face, points, _icp(face, many, starts[0], _ITERATIONS, scaled))
    starts = [_icp(face, few, start, _FEW_ITERATIONS, scaled) for start in starts]
    starts.sort(key=lambda start: _finish(face, few, start).distance.mean())
    fits = [
        _finish(face, points, _icp(face, many, start, _ITERATIONS, scaled))
        for start in starts[:_KEPT_STARTS]
    ]
    return min(fits, key=lambda found: found.distance.mean())


def inside_band(face_triangles, deviation_mm, found):
    """Returns the share of a scan's points that lie inside the face's stated 90 % band.

    A scan does not say which of its points is which vertex: what it tells is the distance across
    the surface, one coordinate of three. The band is 1.645 standard deviations of one coordinate.

    Args:
        face_triangles: [F, 3] of the face's surface.
        deviation_mm: [V] stated standard deviation of each vertex, all three coordinates.
        found: rigid Fit.
    """
    stated = np.asarray(deviation_mm)[face_triangles[found.hits.triangle]].mean(1) / np.sqrt(3)
    return float(np.mean(found.distance <= _BAND * stated))


def _icp(face, points, transform, iterations, scaled):
    """Returns the Similarity from the scan to the face that ICP ends at, from one on."""
    moved = transform.apply(points)
    for _ in range(iterations):
        hits = face.closest(moved)
        gap = hits.distance / transform.scale
        keep = gap < max(_FAR * np.median(gap), _FAR_MM)
        if scaled:  # The squares that are least are measured on the scan, which keeps its size.
            step = alignment.Similarity(*alignment.umeyama(hits.point[keep], points[keep]))
            transform = step.inverse()
        else:
            rigid = alignment.kabsch(points[keep], hits.point[keep])
            transform = alignment.Similarity(1.0, *rigid)
        before, moved = moved, transform.apply(points)
        if np.abs(moved - before).max() < _MOVED_MM:
            break
    return transform


def _start(face, nose_tip, start_deg):
    """Returns the Similarity that lays nose tip on nose tip, the face turned by pitch and yaw."""
    pitch, yaw = np.radians(start_deg)
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    turn = about_x @ about_y  # Turns the face from the canonical frame to the scan's.
    front = face.vertices[
        np.abs(face.vertices[:, 0] - np.median(face.vertices[:, 0])) < _NOSE_BAND_MM
    ]
    own_tip = front[front[:, 2].argmax()]
    return alignment.Similarity(1.0, turn.T, own_tip - turn.T @ np.asarray(nose_tip))


def _finish(face, points, transform):
    hits = face.closest(transform.apply(points))
    return Fit(transform, hits, hits.distance / transform.scale)
