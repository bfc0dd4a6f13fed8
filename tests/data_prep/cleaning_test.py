import numpy as np
import pytest

from data_prep.scans import cleaning
from data_prep.scans.scan import Scan, ScanError


def _grid(rows, columns=None, origin=(0, 0, 0)):
    """A flat patch with edges of 1 mm."""
    columns = columns or rows
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[:-1, 1:].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([c, b, b + 1], 1)])
    y, x = np.mgrid[:rows, :columns]
    points = np.stack([x, -y, 0 * x], axis=-1).reshape(-1, 3) + np.array(origin)
    return points.astype(np.float32), triangles.astype(np.int32)


def test_a_clean_surface_is_returned_as_it_is():
    points, triangles = _grid(9)
    cleaned = cleaning.clean(Scan(points, triangles))
    np.testing.assert_array_equal(cleaned.vertices, points)
    np.testing.assert_array_equal(cleaned.triangles, triangles)


def test_the_component_of_largest_area_stays_and_unused_vertices_go():
    big, big_triangles = _grid(6)
    small, small_triangles = _grid(4, origin=(50, 0, 0))
    stray = np.array([[500, 0, 0]], np.float32)
    points = np.concatenate([stray, small, big])
    uv = np.arange(2.0 * len(points), dtype=np.float32).reshape(-1, 2)
    triangles = np.concatenate([small_triangles + 1, big_triangles + 1 + len(small)])
    cleaned = cleaning.clean(Scan(points, triangles, uv))
    np.testing.assert_array_equal(cleaned.vertices, big)
    np.testing.assert_array_equal(cleaned.triangles, big_triangles)
    np.testing.assert_array_equal(cleaned.uv, uv[1 + len(small) :])


def test_degenerate_and_repeated_triangles_go():
    points, triangles = _grid(5)
    bad = np.array([[3, 3, 4], [0, 1, 2], triangles[7][[1, 2, 0]]], np.int32)  # 0, 1, 2: a line
    cleaned = cleaning.clean(Scan(points, np.concatenate([triangles, bad])))
    np.testing.assert_array_equal(cleaned.triangles, triangles)


def test_no_edge_keeps_more_than_two_triangles_and_the_largest_stay():
    points, triangles = _grid(5)
    a, b = triangles[5, :2]
    fin = np.array([[a, b, len(points)]], np.int32)
    apex = points[[a, b]].mean(axis=0) + [0, 0, 0.3]  # Smaller than its two neighbours.
    points = np.concatenate([points, [apex]]).astype(np.float32)
    cleaned = cleaning.clean(Scan(points, np.concatenate([fin, triangles])))
    np.testing.assert_array_equal(cleaned.triangles, triangles)


@pytest.mark.parametrize('height', [5.0, 9.0, 80.0])
def test_a_spike_goes_and_its_neighbours_stay(height):
    points, triangles = _grid(15)
    points[7 * 15 + 7, 2] = height
    cleaned = cleaning.clean(Scan(points, triangles))
    assert len(cleaned.vertices) == len(points) - 1
    assert cleaned.vertices[:, 2].max() == 0


def test_a_triangle_that_bridges_a_gap_goes():
    left, triangles = _grid(10)
    right, _ = _grid(8, origin=(60, 0, 0))
    bridge = np.array([[9, 100, 19]], np.int32)
    points = np.concatenate([left, right])
    cleaned = cleaning.clean(Scan(points, np.concatenate([triangles, bridge])))
    np.testing.assert_array_equal(cleaned.vertices, left)


def test_noise_of_a_scanner_is_not_a_spike():
    points, triangles = _grid(60)
    points[:, 2] += np.random.default_rng(0).normal(0, 0.25, len(points)).astype(np.float32)
    assert len(cleaning.clean(Scan(points, triangles)).vertices) > 0.999 * len(points)


def test_a_scan_of_which_nothing_is_left_is_an_error():
    points = np.zeros((3, 3), np.float32)
    with pytest.raises(ScanError, match='nothing is left'):
        cleaning.clean(Scan(points, np.array([[0, 1, 2]], np.int32)))


def _split(points, triangles, label):
    """Gives the triangles of each label vertices of their own, at the same places."""
    parts, faces, offset = [], [], 0
    for one in np.unique(label):
        used, index = np.unique(triangles[label == one], return_inverse=True)
        parts.append(points[used])
        faces.append(index.reshape(-1, 3) + offset)
        offset += len(used)
    return np.concatenate(parts), np.concatenate(faces).astype(np.int32)


def _bent_grid(rows):
    points, triangles = _grid(rows)
    points[:, 2] = 0.02 * points[:, 0] ** 2
    return points, triangles


@pytest.mark.parametrize(
    'label',
    [
        lambda triangles: triangles[:, 0] % 9 > 3,  # A seam from top to bottom.
        lambda triangles: (triangles[:, 0] % 9 > 3) + 2 * (triangles[:, 0] > 40),  # Four charts.
        lambda triangles: np.arange(len(triangles)),  # A triangle soup.
    ],
    ids=['seam', 'charts', 'soup'],
)
def test_doubled_vertices_are_one_place_and_nothing_is_lost(label):
    points, triangles = _bent_grid(9)
    parts = cleaning.clean_parts(Scan(*_split(points, triangles, label(triangles))))
    assert len(parts.scan.vertices) == len(points)
    assert len(parts.scan.triangles) == len(triangles)
    assert parts.share_of_pieces() == 0


def test_rims_that_were_rounded_differently_are_one_seam():
    points, triangles = _bent_grid(9)
    label = triangles[:, 0] % 9 > 3
    right = len(np.unique(triangles[~label]))  # The first vertex of the part on the right.
    points, triangles = _split(points, triangles, label)
    points[right:] += np.float32(3e-5)  # 0.00003 of an edge.
    parts = cleaning.clean_parts(Scan(points, triangles))
    assert len(parts.scan.triangles) == len(triangles) and len(parts.scan.vertices) == 81


def test_rims_a_tenth_of_an_edge_apart_are_two_pieces_and_their_share_is_known():
    points, triangles = _bent_grid(9)
    label = triangles[:, 0] % 9 > 3
    right = len(np.unique(triangles[~label]))  # The first vertex of the part on the right.
    points, triangles = _split(points, triangles, label)
    points[right:, 0] += 0.1
    parts = cleaning.clean_parts(Scan(points, triangles))
    assert len(parts.scan.triangles) + len(parts.pieces.triangles) == len(triangles)
    assert 0.3 < parts.share_of_pieces() < 0.5


def test_a_seam_of_the_texture_keeps_both_coordinates_and_the_surface_hangs_together():
    points, triangles = _bent_grid(9)
    points, triangles = _split(points, triangles, triangles[:, 0] % 9 > 3)
    uv = np.where(np.arange(len(points))[:, None] < 45, 0.25, 0.75) * np.ones(2)
    parts = cleaning.clean_parts(Scan(points, triangles, uv.astype(np.float32)))
    assert len(parts.scan.triangles) == len(triangles)
    np.testing.assert_array_equal(
        np.sort(parts.scan.uv[parts.scan.triangles].ravel()), np.sort(uv[triangles].ravel())
    )
    assert len(cleaning.weld(parts.scan).vertices) == 81


def test_vertices_that_nobody_uses_may_be_anything():
    points, triangles = _bent_grid(5)
    stray = np.full((3, 3), np.nan, np.float32)
    cleaned = cleaning.clean(Scan(np.concatenate([points, stray]), triangles))
    np.testing.assert_array_equal(cleaned.vertices, points)
