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
