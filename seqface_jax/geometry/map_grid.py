"""The grid of a position map: one ray per direction around the face, ordered alike on every face.

Row = elevation from top to bottom, column = azimuth from the subject's right to left, both seen
from the origin of the canonical frame (+x to the subject's left, +y up, +z out of the face, mm,
origin about 90 mm behind the nose tip). Point k = row * SIZE + column.
"""

import numpy as np

from seqface_jax.geometry import vectors

SIZE = 128
MAX_AZIMUTH_RAD = np.radians(80.0)
MAX_ELEVATION_RAD = np.radians(70.0)
CROP_RADIUS_MM = 95.0  # Around the nose tip; the field's usual evaluation crop.


def ray_angles(size=SIZE):
    """Returns azimuth [1, size] and elevation [size, 1] of the map's columns and rows, radians."""
    azimuth = np.linspace(-MAX_AZIMUTH_RAD, MAX_AZIMUTH_RAD, size)[None, :]
    elevation = np.linspace(MAX_ELEVATION_RAD, -MAX_ELEVATION_RAD, size)[:, None]
    return azimuth, elevation


def ray_directions(size=SIZE):
    """Returns the unit direction of every map pixel, [size, size, 3]."""
    return _directions(*ray_angles(size))


def strided_ray_directions(side):
    """Returns the unit directions of a network's map, [side, side, 3].

    Pixel (0, 0) is that of the whole map, and such a map is compared with every n-th of its pixels
    (or every n-th of its own with the whole map): so its last row is short of the whole map's.
    """
    step = SIZE / side / (SIZE - 1)
    places = step * np.arange(side)
    azimuth = (2 * places - 1)[None, :] * MAX_AZIMUTH_RAD
    return _directions(azimuth, (1 - 2 * places)[:, None] * MAX_ELEVATION_RAD)


def _directions(azimuth, elevation):
    """Returns the unit directions of angles [1, W] and [H, 1], [H, W, 3]."""
    up = np.broadcast_to(np.sin(elevation), (elevation.shape[0], azimuth.shape[1]))
    level = np.cos(elevation)
    return np.stack([level * np.sin(azimuth), up, level * np.cos(azimuth)], axis=-1)


def pixels_of(azimuth, elevation, size=SIZE):
    """Returns row and column, fractions of a pixel included, where a map sees a direction.

    Args:
        azimuth, elevation: radians, arrays of one shape.
    """
    row = (MAX_ELEVATION_RAD - elevation) / (2 * MAX_ELEVATION_RAD) * (size - 1)
    column = (azimuth + MAX_AZIMUTH_RAD) / (2 * MAX_AZIMUTH_RAD) * (size - 1)
    return row, column


def normals(points):
    """Returns the outward unit normals of a position map [S, S, 3], of its shape."""
    xp = points.__array_namespace__()
    down, across = xp.gradient(points, axis=(0, 1))
    return vectors.unit(xp.cross(down, across))


def with_mirrored(maps, masks):
    """Returns faces and their mirror images.

    Args:
        maps: [N, S, S, 3] mm.
        masks: [N, S, S] bool.

    Returns:
        maps [2 N, S, S, 3] float32 and masks [2 N, S, S] bool.
    """
    maps, masks = np.asarray(maps, np.float32), np.asarray(masks, bool)
    mirror = np.array([-1, 1, 1], np.float32)
    return (
        np.concatenate([maps, maps[:, :, ::-1] * mirror]),
        np.concatenate([masks, masks[:, :, ::-1]]),
    )


def grid_triangles(mask):
    """Returns the triangles of a map whose three corners are all valid.

    Args:
        mask: [H, W] bool, which pixels hold a point.

    Returns:
        [F, 3] int32 indices into the H * W points, wound counter-clockwise seen from outside.
    """
    height, width = mask.shape
    index = np.arange(height * width, dtype=np.int32).reshape(height, width)
    upper_left, upper_right = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    lower_left, lower_right = index[1:, :-1].ravel(), index[1:, 1:].ravel()
    triangles = np.concatenate(
        [
            np.stack([upper_left, lower_left, upper_right], axis=1),
            np.stack([upper_right, lower_left, lower_right], axis=1),
        ]
    )
    return triangles[mask.ravel()[triangles].all(axis=1)]


def grid_uv(size=SIZE):
    """Returns the texture coordinate of every map pixel, [size * size, 2], v up, in [0, 1]."""
    u, v = np.meshgrid(np.linspace(0, 1, size), np.linspace(1, 0, size))
    return np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float32)
