"""Loop's subdivision of a triangle mesh, as a matrix: linear in the vertices.

Loop, 1987, "Smooth subdivision surfaces based on triangles", with Warren's weights. A model that
was made for a subdivision surface shows flat facets without it.
"""

import numpy as np
from scipy import sparse


def loop_matrix(num_vertices, triangles, levels=1):
    """Returns the matrix to the finer vertices, and the finer triangles.

    Args:
        num_vertices: V of the coarse mesh.
        triangles: [F, 3] vertex indices; an edge has one or two triangles.
        levels: how often every triangle is cut into four.

    Returns:
        [V', V] sparse matrix whose first V rows give the coarse vertices' new places, and
        [F * 4**levels, 3] int32 triangles.
    """
    matrix = sparse.eye_array(num_vertices, format='csr')
    for _ in range(levels):
        step, triangles = _loop_step(matrix.shape[0], triangles)
        matrix = step @ matrix
    return matrix, triangles


def _loop_step(count, triangles):
    """Returns matrix and triangles of one level."""
    corners = np.asarray(triangles, np.int64)
    edges = np.concatenate([corners[:, [1, 2]], corners[:, [2, 0]], corners[:, [0, 1]]])
    unique, place, times = np.unique(
        np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    place, rim = place.ravel(), times == 1
    # An edge's new vertex: 3/8 of its ends and 1/8 of the vertices opposite; at the rim 1/2.
    ends = np.where(rim, 0.5, 0.375)
    rows = [np.repeat(np.arange(len(unique)), 2), place]
    columns = [unique.ravel(), corners.T.ravel()]
    values = [np.repeat(ends, 2), np.where(rim[place], 0.0, 0.125)]
    odd = _matrix(rows, columns, values, (len(unique), count))
    # A vertex moves towards the mean of its neighbours; at the rim, of those along the rim.
    on_rim = np.zeros(count, bool)
    on_rim[unique[rim].ravel()] = True
    both = np.concatenate([unique, unique[:, ::-1]])
    used = ~on_rim[both[:, 0]] | np.tile(rim, 2)
    both = both[used]
    valence = np.bincount(both[:, 0], minlength=count)
    share = np.where(
        on_rim, 0.125, np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
    )
    rows = [np.arange(count), both[:, 0]]
    columns = [np.arange(count), both[:, 1]]
    values = [1 - valence * share, share[both[:, 0]]]
    even = _matrix(rows, columns, values, (count, count))
    middle = place.reshape(3, -1) + count  # The edges opposite corners 0, 1 and 2.
    a, b, c = corners.T
    finer = np.concatenate(
        [
            np.stack([a, middle[2], middle[1]], axis=1),
            np.stack([b, middle[0], middle[2]], axis=1),
            np.stack([c, middle[1], middle[0]], axis=1),
            np.stack([middle[0], middle[1], middle[2]], axis=1),
        ]
    )
    return sparse.vstack([even, odd], format='csr'), finer.astype(np.int32)


def _matrix(rows, columns, values, shape):
    index = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array((np.concatenate(values), index), shape=shape)
