import numpy as np

from data_prep.scans import cleaning
from data_prep.synthetic import subdivision

_OCTAHEDRON = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
_UPPER = [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
_LOWER = [[1, 0, 5], [2, 1, 5], [3, 2, 5], [0, 3, 5]]
_FACES = np.array(_UPPER + _LOWER)


def _square(count):
    """Returns a flat square of count x count vertices and its triangles."""
    x, y = np.meshgrid(np.arange(count), np.arange(count))
    index = np.arange(count * count).reshape(count, count)
    a, b, c, d = (
        k.ravel() for k in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    )
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1).astype(float), triangles


def test_a_level_of_an_octahedron_puts_vertices_where_loops_weights_say():
    matrix, triangles = subdivision.loop_matrix(6, _FACES)
    finer = matrix @ _OCTAHEDRON
    assert finer.shape == (6 + 12, 3) and triangles.shape == (32, 3)
    # Four neighbours share 3/8; their mean is 0.
    np.testing.assert_allclose(finer[0], [0.625, 0, 0])
    # 3/8 of both ends; the vertices opposite cancel out.
    edge = finer[6:][np.isclose(finer[6:, 0], finer[6:, 1]) & (finer[6:, 0] > 0)]
    np.testing.assert_allclose(edge, [[0.375, 0.375, 0]])


def test_all_weights_sum_to_1():
    matrix, _ = subdivision.loop_matrix(6, _FACES, levels=2)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)


def test_a_flat_square_keeps_its_edge_straight_and_its_inside_flat():
    vertices, triangles = _square(8)
    matrix, finer_triangles = subdivision.loop_matrix(64, triangles, levels=2)
    finer = matrix @ vertices
    assert len(finer_triangles) == 16 * len(triangles)
    np.testing.assert_allclose(finer[:, 2], 0.0)
    assert finer[:, :2].min() >= -1e-12 and finer[:, :2].max() <= 7 + 1e-12
    edges = cleaning.edges_of(finer_triangles).reshape(-1, 2)
    unique, counts = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    rim = finer[unique[counts == 1].ravel()]
    on_side = (np.isclose(rim[:, :2], 0) | np.isclose(rim[:, :2], 7)).any(axis=1)
    assert on_side.mean() > 0.6  # Only the corners are cut.


def test_triangles_keep_their_winding():
    matrix, triangles = subdivision.loop_matrix(6, _FACES, levels=2)
    corners = (matrix @ _OCTAHEDRON)[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((normals * corners.mean(axis=1)).sum(axis=1) > 0).all()
