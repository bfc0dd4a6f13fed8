"""Raw scans to clean surfaces: what a scanner leaves behind goes, the order of the rest stays."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from data_prep.scans.scan import Scan, ScanError

_MIN_AREA_MM2 = 1e-6
_LONG_EDGE_RATIO = 12.0  # To the scan's median edge; such triangles bridge gaps in depth.
_SPIKE_RATIO = 2.5  # Distance from the neighbours' mean, to the edges around it.
_SPIKE_ROUNDS = 3  # A spike of several vertices goes layer by layer.
_SAME_PLACE = 1e-3  # Share of the median edge: rims so close, rounded differently, are one seam.
_SEAM_NEIGHBOURS = 8  # Vertices of rims that may meet in one place.


class Cleaned(NamedTuple):
    """A clean surface, and what cleaning took away.

    scan: Scan, the connected surface of largest area.
    pieces: Scan of the other connected surfaces; it may have no triangles.
    removed: Scan of the triangles that are long, spiky or too many at an edge; so may this.
    """

    scan: Scan
    pieces: Scan
    removed: Scan

    def share_of_pieces(self):
        """Returns the area of the other pieces over that of all, in [0, 1]."""
        areas = [
            triangle_areas(one.vertices.astype(np.float64), one.triangles).sum()
            for one in (self.scan, self.pieces)
        ]
        return float(areas[1] / sum(areas))


def clean(scan):
    """Returns the largest clean surface of a raw scan; see `clean_parts`."""
    return clean_parts(scan).scan


def clean_parts(scan):
    """Returns the largest clean surface of a raw scan, and the rest of it.

    What is connected follows from the places of the vertices, not from their numbers: at a seam
    of the texture, in a triangle soup and between two parts of a file they are doubled. Vertices
    of one place and one texture coordinate become one.

    Removes, in this order: degenerate and repeated triangles, triangles with very long edges,
    spikes, the smaller triangles of non-manifold edges, all but the component of largest area,
    and vertices that no triangle uses. What is left keeps the order of the scan.

    Args:
        scan: a Scan, mm.

    Returns:
        Cleaned.

    Raises:
        ScanError: nothing is left.
    """
    vertices = scan.vertices.astype(np.float64)
    triangles = places(vertices, scan.triangles)[scan.triangles]
    kept = np.flatnonzero(_is_sound(vertices, triangles))
    sound = kept
    kept = kept[_is_short(vertices, triangles[kept])]
    for _ in range(_SPIKE_ROUNDS):
        spikes = _spikes(vertices, triangles[kept])
        if not spikes.any():
            break
        kept = kept[~spikes[triangles[kept]].any(axis=1)]
    kept = kept[_is_manifold(vertices, triangles[kept])]
    if len(kept) == 0:
        raise ScanError('nothing is left of the scan after cleaning; look at its faces.')
    largest = _is_largest_component(vertices, triangles[kept])
    merged = _merge_vertices(scan, triangles)
    return Cleaned(
        compact(merged, merged.triangles[kept[largest]]),
        compact(merged, merged.triangles[kept[~largest]]),
        compact(merged, merged.triangles[np.setdiff1d(sound, kept)]),
    )


def weld(scan):
    """Returns the scan without texture, with one vertex at each place; the order stays."""
    index = places(scan.vertices.astype(np.float64), scan.triangles)
    return compact(Scan(scan.vertices, scan.triangles), index[scan.triangles])


def places(vertices, triangles):
    """Returns for each vertex the number of the first one at the same place, [V].

    The same place is the same coordinates; on the rims of surfaces, _SAME_PLACE apart.

    Args:
        vertices: [V, 3] float64.
        triangles: [F, 3].
    """
    first = _first_equal(vertices)
    triangles = first[triangles]
    rim = np.flatnonzero(on_rim(len(vertices), triangles))
    lengths = _edge_lengths(vertices, triangles)
    tolerance = _SAME_PLACE * np.median(lengths) if len(lengths) else 0
    if len(rim) < 2 or not 0 < tolerance < np.inf:
        return first
    points = vertices[rim]
    count = min(_SEAM_NEIGHBOURS, len(rim))
    distance, nearest = cKDTree(points).query(
        points, k=np.arange(1, count + 1), distance_upper_bound=tolerance
    )
    rows, columns = np.nonzero(np.isfinite(distance))
    ones, shape = np.ones(len(rows), np.int8), (len(rim), len(rim))
    graph = sparse.csr_array((ones, (rows, nearest[rows, columns])), shape=shape)
    label = csgraph.connected_components(graph, directed=False)[1]
    merged = first.copy()
    merged[rim] = rim[np.unique(label, return_index=True)[1]][label]
    return merged[first]


def on_rim(num_vertices, triangles):
    """Returns [V] bool: vertices on an edge that only one triangle has."""
    edges = edges_of(triangles).reshape(-1, 2).astype(np.int64)
    keys, counts = np.unique(edges[:, 0] * num_vertices + edges[:, 1], return_counts=True)
    single = keys[counts == 1]
    rim = np.zeros(num_vertices, bool)
    rim[single // num_vertices] = True
    rim[single % num_vertices] = True
    return rim


def _merge_vertices(scan, triangles):
    """Returns the scan whose vertices of one place and one texture coordinate are one.

    Args:
        scan: a Scan.
        triangles: [F, 3], its triangles with the number of the first vertex at each place.
    """
    if scan.uv is None:
        return Scan(scan.vertices, triangles.astype(np.int32), None, scan.texture)
    first = np.arange(len(scan.vertices))
    first[scan.triangles] = triangles
    index = _first_equal(np.column_stack([first, scan.uv.astype(np.float64)]))
    return Scan(scan.vertices, index[scan.triangles].astype(np.int32), scan.uv, scan.texture)


def _first_equal(rows):
    """Returns for each row [N, C] the number of the first row that equals it, [N]."""
    order = np.lexsort(rows.T)  # Stable: of equal rows the first comes first.
    ordered = rows[order]
    starts = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]
    first = np.empty(len(rows), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    return first


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


def _is_sound(vertices, triangles):
    """Returns [F] bool: the triangle has an area, and none before has the same corners."""
    large = np.flatnonzero(triangle_areas(vertices, triangles) > _MIN_AREA_MM2)
    corners = np.sort(triangles[large], axis=1).astype(np.int64)
    count = corners.max(initial=0) + 1
    if count < 2_000_000:  # Three indices fit into one 63-bit key, which sorts fast.
        keys = (corners[:, 0] * count + corners[:, 1]) * count + corners[:, 2]
        first = np.unique(keys, return_index=True)[1]
    else:
        first = np.unique(corners, axis=0, return_index=True)[1]
    sound = np.zeros(len(triangles), bool)
    sound[large[first]] = True
    return sound


def _edge_lengths(vertices, triangles):
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    return np.stack([np.linalg.norm(d, axis=1) for d in (b - a, c - b, a - c)], axis=1)


def _is_short(vertices, triangles):
    """Returns [F] bool: no edge is much longer than the scan's median edge."""
    lengths = _edge_lengths(vertices, triangles)
    if len(lengths) == 0:
        return np.zeros(0, bool)
    return lengths.max(axis=1) <= _LONG_EDGE_RATIO * np.median(lengths)


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


def _is_manifold(vertices, triangles):
    """Returns [F] bool: at each of its edges, the triangle is one of the two largest."""
    keys = _edge_keys(triangles)
    unique, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    crowded = counts[inverse.reshape(keys.shape)] > 2
    keep = np.ones(len(triangles), bool)
    if not crowded.any():
        return keep
    triangle = np.broadcast_to(np.arange(len(triangles))[:, None], keys.shape)[crowded]
    area = triangle_areas(vertices, triangles[triangle])
    order = np.lexsort((triangle, -area, keys[crowded]))
    sorted_keys = keys[crowded][order]
    starts = np.r_[True, sorted_keys[1:] != sorted_keys[:-1]]
    position = np.arange(len(order))
    rank = position - np.maximum.accumulate(np.where(starts, position, 0))
    keep[triangle[order][rank >= 2]] = False
    return keep


def _is_largest_component(vertices, triangles):
    """Returns [F] bool: the triangle belongs to the connected surface of largest area."""
    rows, columns = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    shape = (len(vertices), len(vertices))
    graph = sparse.csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=shape)
    label = csgraph.connected_components(graph, directed=False)[1][triangles[:, 0]]
    area = np.bincount(label, triangle_areas(vertices, triangles))
    return label == np.argmax(area)
