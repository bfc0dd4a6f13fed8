"""The position map: one 3D point per direction around the face, ordered alike on every face.

Row = elevation from top to bottom, column = azimuth from the subject's right to left, both seen
from the origin of the canonical frame (+x to the subject's left, +y up, +z out of the face, mm,
origin about 90 mm behind the nose tip). Point k = row * SIZE + column.
"""

import numpy as np

SIZE = 128
MAX_AZIMUTH_RAD = np.radians(80.0)
MAX_ELEVATION_RAD = np.radians(70.0)
CROP_RADIUS_MM = 95.0  # Around the nose tip; the field's usual evaluation crop.


def ray_directions(size=SIZE):
    """Returns the unit direction of every map pixel, [size, size, 3]."""
    azimuth = np.linspace(-MAX_AZIMUTH_RAD, MAX_AZIMUTH_RAD, size)[None, :]
    elevation = np.linspace(MAX_ELEVATION_RAD, -MAX_ELEVATION_RAD, size)[:, None]
    return np.stack(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.broadcast_to(np.sin(elevation), (size, size)),
            np.cos(elevation) * np.cos(azimuth),
        ],
        axis=-1,
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
