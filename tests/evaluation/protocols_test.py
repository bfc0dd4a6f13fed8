"""The four dialects of MICC Florence: values worked out by hand, and what fools which."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from seqface_jax.evaluation import protocols
from seqface_jax.geometry import map_grid, surface
from tests.helpers import bumpy_face

EYES = np.array([[-45.0, 30.0, 50.0], [45.0, 30.0, 50.0]])  # 90 mm apart.


def _sheet(heights, cell=5.0):
    """A surface over a square grid about the origin; heights [N, N] mm."""
    count = len(heights)
    place = cell * (np.arange(count) - (count - 1) / 2)
    x, y = np.meshgrid(place, -place)
    points = np.stack([x, y, heights], axis=-1).reshape(-1, 3)
    return surface.Surface(points, map_grid.grid_triangles(np.ones((count, count), bool)))


def _target(scan, points=None, subject='subject_01'):
    points = scan.vertices if points is None else points
    return protocols.Target(subject, scan, points, scan, EYES)


def _columns(heights, count=20):
    """Heights that take turns from column to column."""
    return np.tile(np.resize(heights, count), (count, 1))


def _square(side):
    corner = side / 2
    points = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * corner
    return surface.Surface(points, np.array([[0, 1, 2], [0, 2, 3]]))


def _moved(mesh, scale, degrees=0.0, shift=(0, 0, 0)):
    turn = Rotation.from_euler('y', degrees, degrees=True).as_matrix()
    return surface.Surface(scale * mesh.vertices @ turn.T + shift, mesh.triangles)


@pytest.fixture(scope='module')
def face():
    """A bumpy face as a surface."""
    found = bumpy_face.position_map_of(1, 64)
    mask = bumpy_face.mask_of(found)
    return surface.Surface(*surface.from_prediction(found, ordered=True, mask=mask))


def test_thesis_of_a_square_of_8_in_one_of_10_is_a_tenth():
    # Each corner is sqrt(1 + 1) mm from its own; the box has a diagonal of sqrt(200) mm.
    found = protocols.score('thesis', _square(8.0), _target(_square(10.0)))
    assert found == pytest.approx(np.sqrt(2) / np.sqrt(200))


def test_interocular_of_the_same_squares_is_a_corner_s_distance_over_90_mm():
    found = protocols.score('interocular', _square(8.0), _target(_square(10.0)))
    assert found == pytest.approx(np.sqrt(2) / 90)


def test_crop_95mm_is_the_root_mean_square_over_the_scan_s_points():
    # The scan's columns are 1, 0, -1 and 0 mm off a flat answer: sqrt((1 + 0 + 1 + 0) / 4).
    scan = _sheet(_columns([1.0, 0.0, -1.0, 0.0]))
    found = protocols.score('crop_95mm', _sheet(np.zeros((24, 24))), _target(scan))
    assert found == pytest.approx(np.sqrt(0.5), rel=0.01)


def test_crop_95mm_leaves_out_what_lies_farther_from_the_nose_tip():
    heights = np.zeros((41, 41))  # 200 mm wide; its nose is in the middle.
    heights[20, 20] = 1e-6
    away = np.hypot(*np.meshgrid(np.arange(41) - 20, np.arange(41) - 20)) * 5
    scan = _sheet(heights + np.where(away > 95, 30.0, 0.0))
    assert protocols.score('crop_95mm', _sheet(heights), _target(scan)) < 1e-3


def test_both_directions_averages_the_two_means():
    # The scan is 0.5 mm above, below and above a flat answer. From the scan to the answer: 0.5.
    # Back: 0.5 too, but from the 4 of 12 columns beside a slope of 1 mm in 5: 0.5 / sqrt(1.04).
    scan = _sheet(_columns(np.repeat([0.5, -0.5, -0.5, 0.5], 3), 12))
    found = protocols.score('both_directions', _sheet(np.zeros((12, 12))), _target(scan))
    back = 0.5 * (8 + 4 / np.sqrt(1.04)) / 12
    assert found == pytest.approx((0.5 + back) / 2, rel=0.002)


def test_both_directions_crops_subject_28_at_60_mm():
    heights = np.zeros((33, 33))
    heights[16, 16] = 1e-6
    away = np.hypot(*np.meshgrid(np.arange(33) - 16, np.arange(33) - 16)) * 5
    scan = _sheet(heights + np.where(away > 65, 2.0, 0.0))
    flat = _sheet(heights)
    wide = protocols.score('both_directions', flat, _target(scan))
    tight = protocols.score('both_directions', flat, _target(scan, subject='subject_28'))
    assert tight < 1e-3 < 0.1 < wide


def test_a_wrong_size_counts_only_where_no_scale_is_fitted(face):
    found = {
        name: protocols.score(name, _moved(face, 1.1, 3, (2, 1, 0)), _target(face))
        for name in protocols.NAMES
    }
    assert found['crop_95mm'] < 0.05 and found['both_directions'] < 0.05
    assert found['thesis'] > 0.005 and found['interocular'] > 0.02


def test_the_same_face_scores_nothing_in_any_mode(face):
    for name in protocols.NAMES:
        assert protocols.score(name, face, _target(face)) < 1e-6


def test_a_face_collapsed_to_a_point_is_told_by_two_of_the_four(face):
    point = surface.Surface(np.tile([[0.0, 0, 60]], (9, 1)), np.array([[0, 1, 2], [3, 4, 5]]))
    found = {name: protocols.score(name, point, _target(face)) for name in protocols.NAMES}
    assert found['thesis'] < 1e-6 and found['both_directions'] < 1e-6
    assert found['crop_95mm'] > 20 and found['interocular'] > 0.2


def test_the_eye_corners_are_those_of_the_scan_and_a_hole_gives_way_to_its_rim():
    directions = map_grid.ray_directions()
    mask = np.ones(directions.shape[:2], bool)
    sphere = 80.0 * directions
    scan = surface.Surface(sphere.reshape(-1, 3), map_grid.grid_triangles(mask))
    whole = protocols.make_target('a', scan, sphere.reshape(-1, 3), sphere, mask)
    # Azimuth of 43 and elevation of 28.9 degrees each way, to the grid's pixel of 1.2 degrees.
    x = 80 * np.cos(np.radians(28.9)) * np.sin(np.radians(43))
    np.testing.assert_allclose(whole.eye_corners[:, 0], [-x, x], atol=1.5)
    holed = mask.copy()
    row, column = np.argwhere((sphere == whole.eye_corners[0]).all(axis=-1))[0]
    holed[row, column] = False
    again = protocols.make_target('a', scan, sphere.reshape(-1, 3), sphere, holed)
    assert 0.5 < np.linalg.norm(again.eye_corners[0] - whole.eye_corners[0]) < 3


def test_an_unknown_protocol_is_told_with_the_known_ones(face):
    with pytest.raises(ValueError, match="no protocol 'now': choose of thesis, crop_95mm, both"):
        protocols.score('now', face, _target(face))
