"""The points that registration matches: of the template, weighted, and of a scan, in a tree.

The template's points count fully on the inner face and fade out where hair, ears, collar and neck
may be. The nose counts more than the rest.
"""

import functools
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from data_prep.registration import ray_casting
from data_prep.scans import cleaning
from seqface_jax.geometry import map_grid, surface

# A template point counts fully so near to the nose tip, and so far above and below it.
_FULL_WEIGHT_MM, _FADE_MM = 55.0, 25.0
_UP_MM, _DOWN_MM, _EDGE_FADE_MM = 28.0, 58.0, 8.0
# Weight of the nose tip, less 1, in choosing a start, in finding the pose, and in the last stage.
_NOSE_GAINS = (2.0, 2.0, 1.0)
_CORE_MM = 30.0  # Radius of the core around the nose tip, where no hair is.
_SCAN_VOXEL_MM = 5.0  # Spacing of the scan points of the first stages.


class TemplatePoints(NamedTuple):
    """Template points: places and unit normals [N, 3], weights of the three uses [N], core [N]
    bool (near the nose), and their graph; nose is the tip [3]."""

    nose: np.ndarray
    positions: np.ndarray
    normals: np.ndarray
    start_weights: np.ndarray
    weights: np.ndarray
    last_weights: np.ndarray
    core: np.ndarray
    laplacian: sparse.sparray
    neighbours: np.ndarray


@functools.lru_cache(maxsize=8)
def sample_template(template, voxel_mm):
    """Returns one point per voxel of the template's surface, weighted by area and place."""
    nose = ray_casting.nose_tip(template)
    vertices = template.vertices.astype(np.float64)
    area = _vertex_areas(vertices, template.triangles)
    near = np.linalg.norm(vertices - nose, axis=1) <= map_grid.CROP_RADIUS_MM
    inside = (area > 0) & near & (vertices[:, 2] > 0)
    normals = surface.vertex_normals(vertices, template.triangles, smoothing=2)[inside]
    vertices, area = vertices[inside], area[inside]
    voxel = np.unique(np.floor(vertices / voxel_mm), axis=0, return_inverse=True)[1].ravel()
    total = np.bincount(voxel, area)
    sums = [np.bincount(voxel, area * values) for values in vertices.T]
    # The vertex nearest to the voxel's mean, so that points lie on the surface.
    offset = np.linalg.norm(vertices - (np.stack(sums, axis=1) / total[:, None])[voxel], axis=1)
    order = np.lexsort((offset, voxel))
    first = order[np.r_[True, voxel[order][1:] != voxel[order][:-1]]]
    positions = vertices[first]
    distance = np.linalg.norm(positions - nose, axis=1)
    place = total * _place_weights(positions, nose)
    start, middle, last = (
        base * (1 + gain * _fade(distance - 10.0, 15.0))
        for base, gain in zip((total, place, place), _NOSE_GAINS, strict=True)
    )
    core = distance < _CORE_MM
    weights = (start, middle, last)
    return TemplatePoints(nose, positions, normals[first], *weights, core, *_graph(positions))


def _place_weights(positions, nose):
    """Returns [N]: 1 on eyes, nose, mouth and cheeks, fading out to hairline, ears and neck."""
    offset = positions - nose
    weights = _fade(np.linalg.norm(offset, axis=1) - _FULL_WEIGHT_MM, _FADE_MM)
    weights *= _fade(offset[:, 1] - _UP_MM, _EDGE_FADE_MM)
    return weights * _fade(-offset[:, 1] - _DOWN_MM, _EDGE_FADE_MM)


def _fade(beyond_mm, width_mm):
    return np.exp(-0.5 * (np.maximum(beyond_mm, 0) / width_mm) ** 2)


class ScanPoints:
    """A scan, ready for many searches: fine points with tree, and coarse ones."""

    def __init__(self, scan, *, coarse=True):
        scan = cleaning.weld(scan)  # At a seam of the texture there is no rim.
        vertices = scan.vertices.astype(np.float64)
        normals = surface.vertex_normals(vertices, scan.triangles, smoothing=3)
        usable = np.isfinite(normals).all(axis=1) & (np.abs(normals).sum(axis=1) > 0)
        self.points, self.normals = vertices[usable], normals[usable]
        self.on_rim = cleaning.on_rim(len(vertices), scan.triangles)[usable]
        self.tree = cKDTree(self.points)
        self.coarse_points = None
        if coarse and len(self.points):
            voxel = np.floor((self.points - self.points.min(axis=0)) / _SCAN_VOXEL_MM)
            chosen = np.unique(voxel, axis=0, return_index=True)[1]
            self.coarse_points, self.coarse_normals = self.points[chosen], self.normals[chosen]
            self.coarse_tree = cKDTree(self.coarse_points)


def _vertex_areas(vertices, triangles):
    area = np.repeat(cleaning.triangle_areas(vertices, triangles) / 3, 3)
    return np.bincount(triangles.ravel(), area, minlength=len(vertices))


def _graph(points, count=7):
    """Returns the Laplacian [N, N] and the neighbours [N, count] of points close together."""
    nearest = cKDTree(points).query(points, k=count)[1]
    rows = np.repeat(np.arange(len(points)), count)
    shape = (len(points), len(points))
    adjacency = sparse.csr_array((np.ones(rows.size), (rows, nearest.ravel())), shape=shape)
    adjacency = adjacency.maximum(adjacency.T)
    return sparse.diags_array(adjacency.sum(axis=1)) - adjacency, nearest
