"""Carries one template mesh onto the surface of another kind of face, once, on the mean faces.

Each template vertex gets a place on the kind's own mesh (three vertices and their weights) and a
small offset. A kind is linear in its own vertices, so that every person of it has the template's
vertices by interpolation alone.

The way is the usual one (Amberg, Romdhani and Vetter, 2007, "Optimal step nonrigid ICP"): a warp
that meets at landmarks, then rounds of closest points whose normals agree, with a stiffness that
falls. The stiffness is that of a thin plate: the displacement's Laplacian is kept small.
"""

import dataclasses

import numpy as np
import open3d as o3d
from scipy import interpolate, sparse
from scipy.sparse import csgraph, linalg

from data_prep.scans import cleaning
from data_prep.scans.ray_scene import ray_scene
from seqface_jax.geometry import vectors
from seqface_jax.geometry.surface import vertex_normals

# Each round's stiffness, farthest partner in mm and least cosine of the two normals.
_ROUNDS = (
    *[(3000.0, 15.0, 0.6)] * 4,
    *[(300.0, 8.0, 0.6)] * 4,
    *[(30.0, 5.0, 0.6)] * 4,
    *[(4.0, 3.0, 0.6)] * 4,
    *[(0.5, 2.0, 0.5)] * 4,
)
_MARK_WEIGHTS = (20.0, 0.3)  # Weight of a landmark in the first round and in the last.
_BOUND_MM = 1.0  # A vertex this near to the surface in the end is put on it.
_BOUND_COS = 0.2
_OUT_MM = 0.5  # A vertex without partner this far outside the surface sticks out,
_DEEPEST_MM = 30.0  # if the surface is within this distance at all.
_RELAXED = 1e-4  # Pull of a vertex without partner towards its place after the first warp.


@dataclasses.dataclass(frozen=True)
class Binding:
    """Places of the template's vertices on a kind's mesh.

    Attributes:
        corners: [N, 3] vertex indices of the kind's mesh.
        weights: [N, 3], their shares; each row sums to 1.
        offsets: [N, 3] mm, added; 0 where the vertex lies on the surface.
        bound: [N] bool, the vertex lies on the surface.
    """

    corners: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    bound: np.ndarray

    def matrix(self, num_vertices):
        """Returns the [N, num_vertices] sparse matrix from kind's vertices to template's."""
        rows = np.repeat(np.arange(len(self.corners)), 3)
        shape = (len(self.corners), num_vertices)
        return sparse.csr_array((self.weights.ravel(), (rows, self.corners.ravel())), shape=shape)

    def carry(self, vertices):
        """Returns the template's vertices on one person [V, 3] of the kind, [N, 3] mm."""
        return np.einsum('nk,nkd->nd', self.weights, vertices[self.corners]) + self.offsets


class CastSurface:
    """A triangle mesh that is asked for its nearest points.

    Args:
        vertices: [V, 3] mm.
        triangles: [F, 3].
    """

    def __init__(self, vertices, triangles):
        self.triangles = np.asarray(triangles, np.int64)
        self.normals = vertex_normals(np.asarray(vertices, np.float64), self.triangles)
        self.scene = ray_scene(vertices, triangles)

    def nearest(self, points):
        """Returns the nearest points [N, 3], their corners [N, 3], weights [N, 3], normals."""
        found = self.scene.compute_closest_points(o3d.core.Tensor(np.float32(points)))
        corners = self.triangles[found['primitive_ids'].numpy().astype(np.int64)]
        uv = found['primitive_uvs'].numpy().astype(np.float64)
        weights = np.concatenate([1 - uv.sum(axis=1, keepdims=True), uv], axis=1)
        normals = np.einsum('nk,nkd->nd', weights, self.normals[corners])
        return (
            found['points'].numpy().astype(np.float64),
            corners,
            weights,
            vectors.unit(normals),
        )

    def hits(self, rays):
        """Returns where rays [N, 6] first meet the surface, [N, 3], NaN where nowhere."""
        distance = self.scene.cast_rays(o3d.core.Tensor(np.float32(rays)))['t_hit'].numpy()
        distance = np.where(np.isfinite(distance), distance, np.nan)
        return rays[:, :3] + rays[:, 3:] * distance[:, None]


def transfer(vertices, triangles, target, mark_vertices, mark_points, *, guides=None, closed=None):
    """Registers the template to a kind's mean surface.

    Args:
        vertices: [N, 3] mm, the template, already in the target's frame.
        triangles: [F, 3] of the template.
        target: CastSurface.
        mark_vertices: [L] template vertices whose place on the target is known.
        mark_points: [L, 3] mm, these places.
        guides: None, or two [M, 3] arrays of matched points that only the first warp meets, such
            as of the skull, where no vertex has a known place.
        closed: None or [N] bool, pockets of the template, such as nostrils, that the target does
            not have: what sticks out of the target there becomes a film across the opening.

    Returns:
        Binding.
    """
    vertices = np.asarray(vertices, np.float64)
    closed = np.zeros(len(vertices), bool) if closed is None else closed
    source, goal = vertices[mark_vertices], np.asarray(mark_points, np.float64)
    if guides is not None:
        source, goal = np.concatenate([source, guides[0]]), np.concatenate([goal, guides[1]])
    warp = interpolate.RBFInterpolator(source, goal - source, kernel='linear', smoothing=0.02)
    start = vertices + warp(vertices)
    laplacian = _laplacian(start, triangles)
    plate = laplacian.T @ laplacian
    marks_away = mark_points - start[mark_vertices]
    marked = np.zeros(len(vertices))
    moved = start
    for number, (stiffness, far, cosine) in enumerate(_ROUNDS):
        part = number / (len(_ROUNDS) - 1)
        marked[mark_vertices] = _MARK_WEIGHTS[0] ** (1 - part) * _MARK_WEIGHTS[1] ** part
        points, _, _, normals = target.nearest(moved)
        agree = (normals * vertex_normals(moved, triangles)).sum(axis=1) > cosine
        found = agree & (np.linalg.norm(points - moved, axis=1) < far)
        found &= ~closed
        pull = found * 1.0
        wanted = pull[:, None] * (points - start)
        wanted[mark_vertices] += marked[mark_vertices, None] * marks_away
        system = sparse.diags_array(pull + marked + _RELAXED) + stiffness * plate
        moved = start + linalg.splu(sparse.csc_array(system)).solve(wanted)
    return _bind(moved, triangles, target, closed, laplacian)


def _bind(moved, triangles, target, closed, laplacian):
    """Returns the Binding: vertices near the target are put on it, others are made to fit in."""
    bound = _near(moved, triangles, target, closed)
    points, _, _, normals = target.nearest(moved)
    fixed = np.where(bound[:, None], points, moved)
    out = closed & (((moved - points) * normals).sum(axis=1) > _OUT_MM)
    out &= np.linalg.norm(moved - points, axis=1) < _DEEPEST_MM
    film = _patches_with(out, bound, triangles)
    if film.any():
        rows = sparse.csr_array(laplacian)[film]
        known = -(rows[:, ~film] @ fixed[~film])
        fixed[film] = linalg.splu(sparse.csc_array(rows[:, film])).solve(known)
    points, corners, weights, _ = target.nearest(fixed)
    return Binding(corners, weights, np.where(bound[:, None], 0.0, fixed - points), bound)


def _patches_with(wanted, bound, triangles):
    """Returns [N] bool: the patches of vertices not bound, without the mesh's rim, with a wanted.

    A patch that reaches the rim (the end of the neck, an eye hole) has no opening to close.
    """
    edges = np.sort(cleaning.edges_of(triangles).reshape(-1, 2), axis=1)
    inside = edges[~bound[edges].any(axis=1)]
    graph = sparse.csr_array((np.ones(len(inside)), inside.T), shape=(len(bound),) * 2)
    _, patch = csgraph.connected_components(graph, directed=False)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    open_ended = np.unique(patch[unique[counts == 1].ravel()])
    return ~bound & np.isin(patch, np.unique(patch[wanted])) & ~np.isin(patch, open_ended)


def _near(moved, triangles, target, closed):
    """Returns [N] bool: vertices that lie near the target and face as it does there."""
    points, _, _, normals = target.nearest(moved)
    agree = (normals * vertex_normals(moved, triangles)).sum(axis=1) > _BOUND_COS
    return agree & (np.linalg.norm(moved - points, axis=1) < _BOUND_MM) & ~closed


def _laplacian(vertices, triangles):
    """Returns the [N, N] matrix vertex minus mean of neighbours, with cotangent weights."""
    corners = vertices[triangles]
    rows, columns, values = [], [], []
    for k in range(3):
        one, two = corners[:, (k + 1) % 3] - corners[:, k], corners[:, (k + 2) % 3] - corners[:, k]
        area = np.linalg.norm(np.cross(one, two), axis=1)
        weight = np.clip((one * two).sum(axis=1) / np.maximum(area, 1e-9), 0.05, 10.0)
        for a, b in ((1, 2), (2, 1)):
            rows.append(triangles[:, (k + a) % 3])
            columns.append(triangles[:, (k + b) % 3])
            values.append(weight)
    index = (np.concatenate(rows), np.concatenate(columns))
    near = sparse.csr_array((np.concatenate(values), index), shape=(len(vertices),) * 2)
    total = np.maximum(near.sum(axis=1), 1e-9)
    return sparse.eye_array(len(vertices)) - sparse.diags_array(1 / total) @ near
