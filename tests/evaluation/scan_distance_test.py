"""Scans that are moved or scaled faces, whose distances are therefore known."""

import numpy as np
import pytest

from seqface_jax.errors import UserError
from seqface_jax.evaluation import scan_distance
from seqface_jax.geometry import alignment, surface
from tests.helpers import bumpy_face


@pytest.fixture(autouse=True)
def fewer_points(monkeypatch):
    monkeypatch.setattr(scan_distance, 'NUM_POINTS', 8000)


@pytest.fixture(scope='module')
def face():
    vertices, triangles = surface.from_prediction(bumpy_face.position_map_of(0, 48), ordered=True)
    return surface.Surface(vertices, triangles)


def _tip(vertices):
    return vertices[vertices[:, 2].argmax()]


def _scan_of(face, scale=1.0, turn_rad=0.1):
    cosine, sine = np.cos(turn_rad), np.sin(turn_rad)
    rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    moved = alignment.Similarity(scale, rotation, np.array([30.0, -20.0, 50.0]))
    vertices = moved.apply(face.vertices)
    tip = moved.apply(_tip(face.vertices))
    return scan_distance.scan_points(vertices, face.triangles, tip), tip


def test_a_moved_face_is_at_no_distance(face):
    points, tip = _scan_of(face)
    found = scan_distance.fit(face, points, tip)
    assert found.distance.mean() < 0.05
    assert found.to_face.scale == 1


def test_a_larger_face_is_at_no_distance_up_to_scale_only(face):
    points, tip = _scan_of(face, scale=1.06)
    assert scan_distance.fit(face, points, tip).distance.mean() > 0.3
    scaled = scan_distance.fit(face, points, tip, scaled=True)
    assert scaled.distance.mean() < 0.05
    assert scaled.to_face.scale == pytest.approx(1 / 1.06, abs=5e-3)


def test_a_face_without_its_left_half_is_far_from_the_scan_there(face):
    points, tip = _scan_of(face)
    kept = (face.vertices[face.triangles][:, :, 0] < 5).all(axis=1)
    half = surface.Surface(face.vertices, face.triangles[kept])
    assert np.percentile(scan_distance.fit(half, points, tip).distance, 90) > 10


def test_what_is_behind_is_not_scored(face):
    """A wall 40 mm behind the face adds no points, one in front hides them."""
    corners = np.array([[-200.0, -200, 0], [200, -200, 0], [200, 200, 0], [-200, 200, 0]])
    wall = np.array([[0, 1, 2], [0, 2, 3]])
    tip = _tip(face.vertices)

    def count(z):
        vertices = np.concatenate([face.vertices, corners + [0, 0, z]])
        triangles = np.concatenate([face.triangles, wall + len(face.vertices)])
        points = scan_distance.scan_points(vertices, triangles, tip)
        on_wall = np.abs(points[:, 2] - z) < 1e-6
        return on_wall.mean()

    assert count(tip[2] + 20) == 1
    assert count(tip[2] - 40) < 0.5


def test_a_scan_in_metres_is_refused(face):
    with pytest.raises(UserError, match='give the scan in mm'):
        scan_distance.scan_points(face.vertices / 1000, face.triangles, np.zeros(3))


def test_the_band_holds_what_is_within_1645_deviations_of_one_coordinate(face):
    points, tip = _scan_of(face, scale=1.04)
    found = scan_distance.fit(face, points, tip)
    edge = np.median(found.distance) * np.sqrt(3) / 1.645
    deviation = np.full(len(face.vertices), edge)
    assert scan_distance.inside_band(face.triangles, deviation, found) == pytest.approx(
        0.5, abs=0.01
    )
    assert scan_distance.inside_band(face.triangles, 1e6 * deviation, found) == 1
