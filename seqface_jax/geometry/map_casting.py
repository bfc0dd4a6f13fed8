"""A mesh to the grid of a position map: along each ray, the outermost point of its surface."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from seqface_jax.geometry import map_grid, rendering, vectors


class MapHits(NamedTuple):
    """Where the rays of a position map meet a mesh.

    A pixel whose ray meets nothing has what the nearest pixel with a hit has.

    Attributes:
        corners: [S, S, 3] int, the vertices of the triangle that is met.
        weights: [S, S, 3], of these corners; they add up to 1.
    """

    corners: np.ndarray
    weights: np.ndarray

    def interpolate(self, values):
        """Returns values of the vertices, [V] or [V, C], at the hits: [S, S] or [S, S, C]."""
        return np.einsum('ijk,ijk...->ij...', self.weights, np.asarray(values)[self.corners])

    def position_map(self, vertices):
        """Returns the points of vertices [V, 3] mm on the rays, [S, S, 3] float32 mm."""
        radius = np.linalg.norm(self.interpolate(vertices), axis=-1, keepdims=True)
        return np.float32(radius * map_grid.ray_directions(len(self.corners)))


def cast(vertices, triangles, size=map_grid.SIZE):
    """Finds where the rays of a position map meet a mesh of triangles that are small on the map.

    Args:
        vertices: [V, 3] mm, canonical frame.
        triangles: [F, 3].
        size: side S of the map.

    Returns:
        MapHits.

    Raises:
        ValueError: no ray meets the mesh.
    """
    vertices = np.asarray(vertices, np.float64)
    azimuth, elevation = vectors.azimuth_elevation(vertices)
    # A triangle across the nape, where the azimuth jumps, would lie across the whole map.
    triangles = triangles[np.ptp(azimuth[triangles], axis=1) < np.pi]
    row, column = map_grid.pixels_of(azimuth, elevation, size)
    middles = np.stack([column, row], axis=1) + 0.5
    radius = np.linalg.norm(vertices, axis=1)
    pixel, triangle, weights = rendering.fragments(middles, radius, triangles, size)
    if not len(pixel):
        raise ValueError('no ray of the position map meets the mesh')
    hit = np.full(size * size, -1)
    hit[pixel] = np.arange(len(pixel))
    hit = hit.reshape(size, size)
    nearest = ndimage.distance_transform_edt(hit < 0, return_distances=False, return_indices=True)
    hit = hit[tuple(nearest)]
    return MapHits(triangles[triangle[hit]], weights[hit])
