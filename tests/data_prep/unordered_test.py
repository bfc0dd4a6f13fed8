import numpy as np

from data_prep.scans import unordered
from data_prep.scans.scan import Scan

# Two triangles in the plane z = 0, of area 1 (left of x = 0) and 3 (right of it).
_SCAN = Scan(
    np.array([[-2, 0, 0], [0, 0, 0], [0, 1, 0], [6, 0, 0]], np.float32),
    np.array([[0, 1, 2], [1, 3, 2]], np.int32),
)


def test_points_come_triangle_by_triangle_in_the_share_of_the_areas():
    points = unordered.sample_points(_SCAN, 1000, seed=0)
    assert (points[:250, 0] <= 0).all() and (points[250:, 0] >= 0).all()


def test_points_lie_uniformly_on_the_surface():
    points = unordered.sample_points(_SCAN, 20000, seed=1)
    x, y, z = points.T
    assert (z == 0).all() and (y >= 0).all()
    assert (np.where(x < 0, y - 1 - x / 2, y - 1 + x / 6) <= 1e-6).all()
    np.testing.assert_allclose(points.mean(axis=0), [4 / 3, 1 / 3, 0], atol=0.03)


def test_the_seed_decides_the_points():
    first = unordered.sample_points(_SCAN, 100, seed=3)
    np.testing.assert_array_equal(first, unordered.sample_points(_SCAN, 100, seed=3))
    assert not np.array_equal(first, unordered.sample_points(_SCAN, 100, seed=4))


def test_the_count_is_exact_even_with_empty_triangles():
    triangles = np.concatenate([_SCAN.triangles, [[0, 0, 0]]]).astype(np.int32)
    points = unordered.sample_points(Scan(_SCAN.vertices, triangles), 16384, seed=0)
    assert points.shape == (16384, 3) and points.dtype == np.float32
