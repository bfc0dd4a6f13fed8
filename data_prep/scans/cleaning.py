"""Raw scans to clean surfaces: what a scanner leaves behind goes, the order of the rest stays."""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from data_prep.scans.scan import Scan, ScanError

_MIN_AREA_MM2 = 1e-6
_LONG_EDGE_RATIO = 12.0  # To the scan's median edge; such triangles bridge gaps in depth.
_SPIKE_RATIO = 2.5  # Distance from the neighbours' mean, to the edges around it.
_SPIKE_ROUNDS = 3  # A spike of several vertices goes layer by layer.


def clean(scan):
    """Returns the largest clean surface of a raw scan.

    Removes, in this order: degenerate and repeated triangles, triangles with very long edges,
    spikes, the smaller triangles of non-manifold edges, all but the component of largest area,
    and vertices that no triangle uses. What is left keeps the order of the scan.

    Args:
        scan: a Scan, mm.

    Raises:
        ScanError: nothing is left.
    """
    vertices = scan.vertices.astype(np.float64)
    triangles = _drop_degenerate(vertices, scan.triangles)
    triangles = _drop_long(vertices, triangles)
    for _ in range(_SPIKE_ROUNDS):
        spikes = _spikes(vertices, triangles)
        if not spikes.any():
            break
        triangles = triangles[~spikes[triangles].any(axis=1)]
    triangles = _drop_non_manifold(vertices, triangles)
    triangles = _largest_component(vertices, triangles)
    if len(triangles) == 0:
        raise ScanError('nothing is left of the scan after cleaning; look at its faces.')
    return compact(scan, triangles)


def compact(scan, triangles):
    """Returns the scan with only `triangles` and the vertices they use, in their order."""
    used = np.zeros(len(scan.vertices), bool)
    used[triangles] = True
    index = np.cumsum(used) - 1
    uv = None if scan.uv is None else scan.uv[used]
    return Scan(scan.vertices[used], index[triangles].astype(np.int32), uv, scan.texture)


def triangle_areas(vertices, triangles):
    """Returns the area of each triangle, [F]."""
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def edges_of(triangles):
    """Returns the three edges of each triangle, [F, 3, 2], the smaller index first."""
    return np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2), axis=2)


def _edge_keys(triangles):
    edges = edges_of(triangles).astype(np.int64)
    return edges[..., 0] * (triangles.max(initial=0) + 1) + edges[..., 1]  # [F, 3]


def _drop_degenerate(vertices, triangles):
    triangles = triangles[triangle_areas(vertices, triangles) > _MIN_AREA_MM2]
    corners = np.sort(triangles, axis=1).astype(np.int64)
    count = corners.max(initial=0) + 1
    if count < 2_000_000:  # Three indices fit into one 63-bit key, which sorts fast.
        keys = (corners[:, 0] * count + corners[:, 1]) * count + corners[:, 2]
        first = np.unique(keys, return_index=True)[1]
    else:
        first = np.unique(corners, axis=0, return_index=True)[1]
    return triangles[np.sort(first)]


def _edge_lengths(vertices, triangles):
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    return np.stack([np.linalg.norm(d, axis=1) for d in (b - a, c - b, a - c)], axis=1)


def _drop_long(vertices, triangles):
    lengths = _edge_lengths(vertices, triangles)
    if len(lengths) == 0:
        return triangles
    return triangles[lengths.max(axis=1) <= _LONG_EDGE_RATIO * np.median(lengths)]


def _spikes(vertices, triangles):
    """Returns [V] bool: vertices far from the mean of their neighbours.

    The measure is the shortest edge of each neighbour, so that the spike's own long edges do
    not count, averaged; on a sane surface the distance is below one such edge even at its rim.
    """
    num_vertices = len(vertices)
    lengths = _edge_lengths(vertices, triangles)
    shortest = np.full(num_vertices, np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        np.minimum.at(shortest, triangles[:, i], lengths[:, i])
        np.minimum.at(shortest, triangles[:, j], lengths[:, i])
    shortest[~np.isfinite(shortest)] = 0
    rows, columns = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    ones = np.ones(len(rows))
    adjacency = sparse.csr_array((ones, (rows, columns)), shape=(num_vertices, num_vertices))
    adjacency = adjacency + adjacency.T
    degree = np.maximum(adjacency @ np.ones(num_vertices), 1)
    offset = vertices - (adjacency @ vertices) / degree[:, None]
    typical = np.maximum((adjacency @ shortest) / degree, np.median(lengths) if len(lengths) else 0)
    return (np.linalg.norm(offset, axis=1) > _SPIKE_RATIO * typical) & (shortest > 0)


def _drop_non_manifold(vertices, triangles):
    """Keeps the two largest triangles of every edge that more than two triangles share."""
    keys = _edge_keys(triangles)
    unique, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    crowded = counts[inverse.reshape(keys.shape)] > 2
    if not crowded.any():
        return triangles
    triangle = np.broadcast_to(np.arange(len(triangles))[:, None], keys.shape)[crowded]
    area = triangle_areas(vertices, triangles[triangle])
    order = np.lexsort((triangle, -area, keys[crowded]))
    sorted_keys = keys[crowded][order]
    starts = np.r_[True, sorted_keys[1:] != sorted_keys[:-1]]
    position = np.arange(len(order))
    rank = position - np.maximum.accumulate(np.where(starts, position, 0))
    keep = np.ones(len(triangles), bool)
    keep[triangle[order][rank >= 2]] = False
    return triangles[keep]


def _largest_component(vertices, triangles):
    if len(triangles) == 0:
        return triangles
    rows, columns = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    shape = (len(vertices), len(vertices))
    graph = sparse.csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=shape)
    label = csgraph.connected_components(graph, directed=False)[1][triangles[:, 0]]
    area = np.bincount(label, triangle_areas(vertices, triangles))
    return triangles[label == np.argmax(area)]
