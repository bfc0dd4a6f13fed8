"""Triangle surfaces: made from predictions, and asked for their closest points."""

from typing import NamedTuple

import numpy as np
from scipy import sparse, spatial

from seqface_jax.geometry import map_grid, vectors

_MASK_SHARE = 0.25  # A map pixel is face if this share of the training scans has it.
_LONG_EDGE = 6.0  # An unordered point's triangle edges end at this multiple of the median edge.


class Hits(NamedTuple):
    """Closest points on a surface, one for each query point.

    Attributes:
        point: [N, 3] mm, the closest surface point.
        distance: [N] mm.
        triangle: [N] the triangle it lies in.
        on_border: [N] bool, whether it lies on an edge that only one triangle uses: the surface
            ends there, so it has nothing to say about the query point.
    """

    point: np.ndarray
    distance: np.ndarray
    triangle: np.ndarray
    on_border: np.ndarray


def from_prediction(prediction, *, ordered, mask=None):
    """Turns a predicted map into a triangle mesh.

    Args:
        prediction: [S, S, 3] mm, canonical frame.
        ordered: bool, whether pixel k is the same place on every face. If not (the thesis's
            points), points are joined by a Delaunay triangulation over azimuth and elevation
            about the origin, without edges over 6 times the median.
        mask: [S, S] bool, the pixels that are face; all if left out. Ordered maps only.

    Returns:
        vertices [V, 3] float64 and triangles [F, 3] int32, counter-clockwise from outside; every
        vertex of the mask (of the map, if unordered) is kept, used or not.
    """
    height, width = prediction.shape[:2]
    points = np.asarray(prediction, np.float64).reshape(-1, 3)
    if not ordered:
        return points, _triangulate(points)
    mask = np.ones((height, width), bool) if mask is None else resize_mask(mask, height)
    triangles = map_grid.grid_triangles(mask)
    new_index = np.cumsum(mask.ravel(), dtype=np.int32) - 1
    return points[mask.ravel()], new_index[triangles]


def face_mask(masks):
    """Returns the pixels that belong to a face, [S, S] bool, from training masks [N, S, S]."""
    return np.asarray(masks, np.float32).mean(0) >= _MASK_SHARE


def crop_mask(mean_map):
    """Returns the pixels of a map [S, S, 3] within 95 mm of its nose tip, [S, S] bool.

    Stands in for `face_mask` where no training masks are at hand. The nose tip is the foremost
    point (largest z) of the map's middle third.
    """
    side = mean_map.shape[0]
    middle = mean_map[side // 3 : -(side // 3), side // 3 : -(side // 3)].reshape(-1, 3)
    nose_tip = middle[middle[:, 2].argmax()]
    return np.linalg.norm(mean_map - nose_tip, axis=-1) <= map_grid.CROP_RADIUS_MM


def resize_mask(mask, side):
    """Strides a square mask down to [side, side], as losses stride the maps.

    Raises:
        ValueError: the mask's side is not a multiple of `side`.
    """
    if mask.shape[0] % side:
        raise ValueError(f'a mask of side {mask.shape[0]} does not fit a map of side {side}')
    stride = mask.shape[0] // side
    return mask[::stride, ::stride]


def _triangulate(points):
    try:
        angles = np.stack(vectors.azimuth_elevation(points), axis=1)
        triangles = spatial.Delaunay(angles).simplices
    except spatial.QhullError:  # All directions alike: a collapsed prediction has no surface.
        return np.repeat(np.arange(len(points), dtype=np.int32)[:, None], 3, axis=1)
    edges = points[triangles] - points[np.roll(triangles, 1, axis=1)]
    length = np.linalg.norm(edges, axis=-1)
    triangles = triangles[length.max(1) <= _LONG_EDGE * np.median(length)].astype(np.int32)
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    inward = (np.cross(b - a, c - a) * a).sum(1) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    return triangles


def vertex_normals(vertices, triangles, *, smoothing=0):
    """Returns unit normals [V, 3], area-weighted over the triangles; zeros where there is none.

    Args:
        vertices: [V, 3].
        triangles: [F, 3].
        smoothing: how often each normal is replaced by the mean of those around it.
    """
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    around = np.cross(b - a, c - a)
    if not smoothing:  # The same sums without the matrix, which takes longer to make than to use.
        sums = [
            np.bincount(triangles.ravel(), np.repeat(around[:, k], 3), len(vertices))
            for k in range(3)
        ]
        return vectors.unit(np.stack(sums, 1))
    columns = np.repeat(np.arange(len(triangles)), 3)
    incidence = sparse.csr_array(
        (np.ones(3 * len(triangles)), (triangles.ravel(), columns)),
        shape=(len(vertices), len(triangles)),
    )
    normals = incidence @ around
    for _ in range(smoothing):
        normals = incidence @ (incidence.T @ vectors.unit(normals))
    return vectors.unit(normals)


class Surface:
    """A triangle mesh that answers `closest`, exactly; degenerate triangles are fine.

    Attributes:
        vertices: [V, 3] float64 mm.
        triangles: [F, 3] vertex indices.
        normals: [F, 3] unit normal of each triangle; zeros where it has no area.
    """

    def __init__(self, vertices, triangles):
        import igl  # Comes with the extra `train`: whoever asks for no closest points needs none.

        self.vertices = np.ascontiguousarray(vertices, np.float64)
        self.triangles = np.asarray(triangles)
        if len(self.triangles) == 0:
            raise ValueError('a surface needs at least one triangle')
        if not np.isfinite(self.vertices[self.triangles]).all():
            raise ValueError('a surface needs finite vertices')
        self._corners = self.vertices[self.triangles]
        a, b, c = np.moveaxis(self._corners, 1, 0)
        self.normals = vectors.unit(np.cross(b - a, c - a))
        self._border_edges, self._border_vertices = _borders(self.triangles, len(self.vertices))
        self._faces = np.ascontiguousarray(self.triangles, np.int64)
        self._tree = igl.AABB()
        self._tree.init(self.vertices, self._faces)

    def closest(self, points):
        """Returns the Hits of points [N, 3]: the closest surface point of each."""
        points = np.ascontiguousarray(points, np.float64)
        _, triangle, _ = self._tree.squared_distance(self.vertices, self._faces, points)
        weights = _barycentric(points, self._corners[triangle])
        point = (weights[:, :, None] * self._corners[triangle]).sum(1)
        distance = np.linalg.norm(points - point, axis=1)
        return Hits(point, distance, triangle, self._on_border(triangle, weights))

    def _on_border(self, triangle, weights):
        outside = weights < 1e-9  # [N, 3]: the edge opposite to this corner holds the point.
        on_edge = (outside & self._border_edges[triangle]).any(1)
        corner = self.triangles[triangle, weights.argmax(1)]
        return on_edge | ((weights.max(1) > 1 - 1e-9) & self._border_vertices[corner])


def _borders(triangles, num_vertices):
    """Finds the open border.

    Returns:
        [F, 3] bool, whether the edge opposite to a corner belongs to one triangle only (or has no
        length), and [V] bool, whether a vertex lies on such an edge.
    """
    start = np.roll(triangles, -1, axis=1).astype(np.int64)
    end = np.roll(triangles, -2, axis=1).astype(np.int64)
    key = np.minimum(start, end) * num_vertices + np.maximum(start, end)
    _, inverse, counts = np.unique(key.ravel(), return_inverse=True, return_counts=True)
    border = (counts[inverse.reshape(-1)] == 1).reshape(key.shape) | (start == end)
    vertices = np.zeros(num_vertices, bool)
    vertices[start[border]] = True
    vertices[end[border]] = True
    return border, vertices


def _barycentric(points, corners):
    """Returns the weights [N, 3] of the closest point of each triangle [N, 3, 3] to its point.

    Ericson, Real-Time Collision Detection, 2005, section 5.1.5: a corner, an edge or the inside,
    by the region of the plane above which the point lies.
    """
    a = corners[:, 0]
    ab, ac = corners[:, 1] - a, corners[:, 2] - a
    ap = points - a
    ab_ab, ac_ac, ab_ac = _dot(ab, ab), _dot(ac, ac), _dot(ab, ac)
    d1, d2 = _dot(ab, ap), _dot(ac, ap)
    d3, d4 = d1 - ab_ab, d2 - ab_ac
    d5, d6 = d1 - ab_ac, d2 - ac_ac
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    with np.errstate(divide='ignore', invalid='ignore'):
        on_ab, on_ac = d1 / ab_ab, d2 / ac_ac
        on_bc = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        inside_v, inside_w = vb / (va + vb + vc), vc / (va + vb + vc)
    conditions = [
        (d1 <= 0) & (d2 <= 0),
        (d3 >= 0) & (d4 <= d3),
        (d6 >= 0) & (d5 <= d6),
        (vc <= 0) & (d1 >= 0) & (d3 <= 0),
        (vb <= 0) & (d2 >= 0) & (d6 <= 0),
        (va <= 0) & (d4 >= d3) & (d5 >= d6),
    ]
    zero, one = np.zeros_like(d1), np.ones_like(d1)
    v = np.select(conditions, [zero, one, zero, on_ab, zero, 1 - on_bc], inside_v)
    w = np.select(conditions, [zero, zero, one, zero, on_ac, on_bc], inside_w)
    weights = np.stack([1 - v - w, v, w], axis=1)
    return np.where(np.isfinite(weights).all(1, keepdims=True), weights, [1.0, 0.0, 0.0])


def _dot(x, y):
    return np.einsum('ni,ni->n', x, y)
