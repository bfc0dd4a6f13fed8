"""A scan in the canonical frame to its position map; the grid is geometry.map_grid's."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import linalg
from scipy.spatial import cKDTree

from data_prep.scans import cleaning
from data_prep.scans.ray_scene import ray_scene
from data_prep.scans.scan import Scan
from seqface_jax.errors import UserError
from seqface_jax.geometry import map_grid

_CAST_FROM_MM = 400.0  # Rays start outside the head and run to the origin.
_NOSE_WINDOW_MM = (25.0, 35.0)  # Half width and half height about the axis.
_NOSE_SMOOTHING_MM = 4.0
_NOSE_NEIGHBOURS = 60
_NOSE_CAP_MM = 0.5  # The tip is the weighted middle of what lies this far below the top.


def check_open3d():
    """Raises UserError if Open3D, which casts the rays, cannot be loaded."""
    try:
        import open3d  # noqa: F401 - only whether it can be.
    except (ImportError, OSError) as error:  # OSError: a library of the system is missing.
        raise UserError(
            f"Open3D cannot be loaded ({error}): pip install -e '.[data]' in the folder of this "
            'project; it needs the system libraries of the Debian packages libegl1, libgl1 and '
            'libusb-1.0-0'
        ) from error


def position_map(scan, size=map_grid.SIZE):
    """Casts one ray per pixel and keeps the outermost point of the surface.

    Args:
        scan: a clean Scan in the canonical frame, mm.
        size: side S of the map.

    Returns:
        map [S, S, 3] float32, mm, every pixel finite and on its own ray, and mask [S, S] bool:
        True where the ray met the scan within map_grid.CROP_RADIUS_MM of the nose tip. Pixels
        outside the mask continue the radius of those inside smoothly (Laplace's equation).

    Raises:
        UserError: no ray meets the face.
    """
    points, mask, _ = cast_map(scan, size)
    return points, mask


def cast_map(scan, size=map_grid.SIZE):
    """Returns map and mask as `position_map`, and the RayHits of their rays, [S, S]."""
    directions = map_grid.ray_directions(size)
    hits = cast(scan, directions)
    points = hits.radius[..., None] * directions
    distance = np.linalg.norm(points - nose_tip(scan), axis=-1)
    mask = np.isfinite(hits.radius) & (distance <= map_grid.CROP_RADIUS_MM)
    if not mask.any():
        raise UserError('the scan has no surface around its nose tip; is it a face, in mm?')
    filled = fill_smoothly(np.where(mask, hits.radius, 0.0), mask)
    return (filled[..., None] * directions).astype(np.float32), mask, hits


class RayHits(NamedTuple):
    """Where rays first meet a scan.

    radius: [...] float64 mm from the origin, NaN without a hit.
    triangle: [...] int64, 0 without a hit.
    weights: [..., 3] float64, of the triangle's corners; they add up to 1.
    """

    radius: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray

    def interpolate(self, values, triangles):
        """Returns vertex values [V, C] at the hits, [..., C]; undefined without a hit."""
        corners = values[triangles[self.triangle]]
        return (self.weights[..., None] * corners).sum(axis=-2)


def cast_radius(scan, directions):
    """Returns the distance from the origin to the outermost hit, NaN without one, [...]."""
    return cast(scan, directions).radius


def cast(scan, directions):
    """Finds the outermost place of the surface in each direction [..., 3]; returns RayHits."""
    import open3d as o3d  # Only preparing data needs Open3D.

    scene = ray_scene(scan.vertices, scan.triangles)
    # From outside inwards, so that the first hit is the outermost; what lies behind the
    # origin (nape, shoulders) is beyond _CAST_FROM_MM and does not count.
    rays = np.concatenate([_CAST_FROM_MM * directions, -directions], axis=-1).astype(np.float32)
    hits = scene.cast_rays(o3d.core.Tensor(rays), nthreads=1)
    depth = hits['t_hit'].numpy().astype(np.float64)
    met = depth < _CAST_FROM_MM
    second_third = hits['primitive_uvs'].numpy().astype(np.float64)
    first = 1 - second_third.sum(axis=-1, keepdims=True)
    return RayHits(
        np.where(met, _CAST_FROM_MM - depth, np.nan),
        np.where(met, hits['primitive_ids'].numpy().astype(np.int64), 0),
        np.concatenate([first, second_third], axis=-1),
    )


def share_only_of(lost, scan):
    """Returns the share of the face's area that only the surface `lost` shows, in [0, 1].

    The face is what rays meet within map_grid.CROP_RADIUS_MM of the nose tip. Where both surfaces
    are met, one behind the other (glasses, an eyeball), nothing is missing.

    Args:
        lost, scan: Scans in the canonical frame.

    Raises:
        UserError: the scan has no surface where the nose should be.
    """
    if len(lost.triangles) == 0:
        return 0.0
    directions, tip = map_grid.ray_directions(), nose_tip(scan)
    areas = []
    for surface in (scan, lost):
        radius = cast_radius(surface, directions)
        distance = np.linalg.norm(radius[..., None] * directions - tip, axis=-1)
        upright = np.sqrt(1 - directions[..., 1] ** 2)  # Rows of a globe are shorter at its poles.
        areas.append(np.where(distance <= map_grid.CROP_RADIUS_MM, radius**2 * upright, 0))
    kept_area, lost_area = areas
    missing = np.where(kept_area == 0, lost_area, 0).sum()
    return float(missing / max(missing + kept_area.sum(), 1e-9))


def fill_smoothly(values, mask):
    """Returns [H, W] float64: `values` where the mask is True, the membrane over it elsewhere."""
    if mask.all():
        return np.asarray(values, np.float64)
    height, width = mask.shape
    index = np.arange(height * width).reshape(height, width)
    pairs = np.concatenate(
        [
            np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], axis=1),
            np.stack([index[:-1].ravel(), index[1:].ravel()], axis=1),
        ]
    )
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    shape = (mask.size, mask.size)
    adjacency = sparse.csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=shape)
    laplacian = sparse.diags_array(adjacency.sum(axis=1)) - adjacency
    known, free = np.flatnonzero(mask.ravel()), np.flatnonzero(~mask.ravel())
    filled = np.array(values, np.float64).ravel()
    rows = laplacian.tocsr()[free]
    right = -(rows[:, known] @ filled[known])
    filled[free] = linalg.spsolve(rows[:, free].tocsc(), right)
    return filled.reshape(height, width)


def nose_tip(scan):
    """Returns [3] float64: the most protruding place (+z) near the axis, smoothed.

    Raises:
        UserError: the scan has no point near the axis.
    """
    vertices = scan.vertices.astype(np.float64)
    half_width, half_height = _NOSE_WINDOW_MM
    near = (np.abs(vertices[:, 0]) < half_width) & (np.abs(vertices[:, 1]) < half_height)
    candidates = vertices[near & (vertices[:, 2] > 0)]
    if len(candidates) == 0:
        raise UserError('the scan has no surface where the nose should be; is it a face, in mm?')
    # The mean height of a patch; a point without neighbours is stray, unless the mesh is coarse.
    count = min(_NOSE_NEIGHBOURS, len(candidates))
    distance, nearest = cKDTree(candidates).query(candidates, k=np.arange(1, count + 1))
    close = distance <= _NOSE_SMOOTHING_MM
    height = (candidates[nearest, 2] * close).sum(axis=1) / close.sum(axis=1)
    lonely = close.sum(axis=1) < 3
    if not lonely.all():
        height[lonely] = -np.inf
    weight = np.maximum(height - height.max() + _NOSE_CAP_MM, 0)
    return weight @ candidates / weight.sum()


def crop(scan, nose_tip, radius=map_grid.CROP_RADIUS_MM):
    """Returns the Scan of the triangles whose corners all lie within `radius` mm of [3]."""
    near = np.linalg.norm(scan.vertices - nose_tip, axis=1) <= radius
    return cleaning.compact(scan, scan.triangles[near[scan.triangles].all(axis=1)])


def map_surface(position_map, mask):
    """Returns the map as a Scan of its valid pixels (vertex order: row by row)."""
    points = position_map.reshape(-1, 3)
    return cleaning.compact(Scan(points, np.zeros((0, 3), np.int32)), map_grid.grid_triangles(mask))
