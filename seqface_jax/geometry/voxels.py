"""A box of cells that are inside the face or not, and the surface between the two.

Choy et al., 2016 (3D-R2N2, arXiv:1604.00449) predict such a box. The box is fixed in the canonical
frame: cell (i, j, k) has its middle at corner_mm + (i + 1/2, j + 1/2, k + 1/2) * cell_mm. A point
is inside where its distance from the axis's origin is below that of the face in its direction.
"""

import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax.geometry import map_grid, sampling, vectors

MARGIN = 1.06  # Side of the box over that of the cube around all training faces.
_MAX_RADIUS = 0.95  # Rays are followed so far from the origin, of the box's side.
_NUM_SAMPLES = 64  # Along a ray.


def box(maps, masks, size):
    """Returns the cube that holds all faces, and their mirror images.

    Args:
        maps: [N, S, S, 3] mm.
        masks: [N, S, S] bool.
        size: cells along a side.

    Returns:
        corner_mm [3], of smallest x, y and z, and cell_mm [], the side of a cell; float32.
    """
    maps, masks = map_grid.with_mirrored(maps, masks)
    points = maps[masks]
    low, high = points.min(axis=0), points.max(axis=0)
    side = np.float32(MARGIN * (high - low).max())
    return (low + high - side) / 2, side / np.float32(size)


def centres(corner_mm, cell_mm, size):
    """Returns the middles of the cells, [size, size, size, 3] mm."""
    steps = np.arange(size, dtype=np.float32) + 0.5
    places = np.stack(np.meshgrid(steps, steps, steps, indexing='ij'), axis=-1)
    return corner_mm + cell_mm * places


def occupancy(position_map, corner_mm, cell_mm, size):
    """Tells which cells are inside faces.

    Directions beyond the map's border are as those of its border.

    Args:
        position_map: [B, S, S, 3] mm.
        corner_mm, cell_mm, size: of the box.

    Returns:
        [B, size, size, size] bool.
    """
    points = centres(corner_mm, cell_mm, size)
    azimuth, elevation = vectors.azimuth_elevation(points)
    azimuth = jnp.clip(azimuth, -map_grid.MAX_AZIMUTH_RAD, map_grid.MAX_AZIMUTH_RAD)
    elevation = jnp.clip(elevation, -map_grid.MAX_ELEVATION_RAD, map_grid.MAX_ELEVATION_RAD)
    row, column = map_grid.pixels_of(azimuth, elevation, position_map.shape[1])
    radius = jnp.linalg.norm(position_map, axis=-1)

    surface = jax.vmap(lambda image: sampling.read(image, row, column))(radius)
    return jnp.linalg.norm(points, axis=-1) < surface


def cast(probability, corner_mm, cell_mm, level, side):
    """Casts rays of the position map, every n-th, onto the surface of a given probability.

    Args:
        probability: [N, size, size, size].
        corner_mm, cell_mm: of the box.
        level: probability of the surface.
        side: S, of the map.

    Returns:
        [N, S, S, 3] mm: on every ray the outermost point where the probability falls below the
        level; the origin where it never reaches it.
    """
    size = probability.shape[-1]
    radius = jnp.linspace(0, _MAX_RADIUS, _NUM_SAMPLES) * size * cell_mm  # [K]
    directions = jnp.asarray(map_grid.strided_ray_directions(side), jnp.float32)
    points = radius[:, None] * directions[..., None, :]  # [S, S, K, 3]
    places = jnp.moveaxis((points - corner_mm) / cell_mm - 0.5, -1, 0)

    def read(cells):
        return jax.scipy.ndimage.map_coordinates(cells, tuple(places), order=1, cval=0.0)

    along = jax.vmap(read)(probability)  # [N, S, S, K]
    inside = along >= level
    order = jnp.arange(_NUM_SAMPLES)
    last = jnp.where(inside, order, -1).max(axis=-1, keepdims=True)
    beyond = jnp.minimum(last + 1, _NUM_SAMPLES - 1)
    here = jnp.take_along_axis(along, jnp.maximum(last, 0), axis=-1)
    there = jnp.take_along_axis(along, beyond, axis=-1)
    share = jnp.clip((here - level) / jnp.maximum(here - there, 1e-6), 0, 1)
    reached = (last + share) * (radius[1] - radius[0])
    return jnp.where(last >= 0, reached, 0) * directions


def iso_surface(probability, corner_mm, cell_mm, level):
    """Extracts the surface of a given probability by marching cubes.

    Args:
        probability: [size, size, size].
        corner_mm, cell_mm: of the box.
        level: of the surface.

    Returns:
        vertices [V, 3] float64 mm and triangles [F, 3] int32, counter-clockwise from outside;
        both empty where the probability does not cross the level.
    """
    from skimage import measure  # Not needed to train.

    probability = np.asarray(probability, np.float64)
    if not probability.min() < level < probability.max():
        return np.zeros((0, 3)), np.zeros((0, 3), np.int32)
    vertices, triangles, _, _ = measure.marching_cubes(
        probability, level, gradient_direction='ascent'
    )
    vertices = np.asarray(corner_mm, np.float64) + (vertices + 0.5) * float(cell_mm)
    return vertices, triangles.astype(np.int32)


def crop_to_mask(vertices, triangles, mask):
    """Keeps the triangles whose three corners lie in directions that are face.

    Args:
        vertices: [V, 3] mm.
        triangles: [F, 3].
        mask: [S, S] bool, the pixels of the position map that are face.

    Returns:
        vertices [W, 3], only those used, and triangles [G, 3] int32.
    """
    azimuth, elevation = vectors.azimuth_elevation(vertices)
    seen = (np.abs(azimuth) <= map_grid.MAX_AZIMUTH_RAD) & (
        np.abs(elevation) <= map_grid.MAX_ELEVATION_RAD
    )
    row, column = (np.rint(place) for place in map_grid.pixels_of(azimuth, elevation, len(mask)))
    row, column = (np.clip(place, 0, len(mask) - 1).astype(int) for place in (row, column))
    kept = triangles[(seen & mask[row, column])[triangles].all(axis=1)]
    used, new_index = np.unique(kept, return_inverse=True)
    return vertices[used], new_index.reshape(-1, 3).astype(np.int32)
