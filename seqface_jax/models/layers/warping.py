"""A picture of a face seen from elsewhere: points are drawn as they lie in the other view.

Texture is lifted from a source picture at an image map, and drawn where a second image map puts
the same points. All on the device and without gradients through the places.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqface_jax.geometry import sampling

MAX_SIDE = 64  # Largest side of the grid of places: every cell of a face gets several points.
MIN_FACING = 0.3  # Cosine to the camera from which on a picture shows more than a smear.
TOLERANCE = 0.03  # Depth within which a point counts as the nearest, in widths of the image.


class Drawn(NamedTuple):
    """A face drawn from elsewhere.

    Attributes:
        picture: [H, W, 3] in [0, 1], black where not known.
        known: [H, W, 1] in [0, 1], how much of a pixel the source shows.
        face: [H, W, 1] in [0, 1], how much of a pixel is face.
    """

    picture: jax.Array
    known: jax.Array
    face: jax.Array


def draw(picture, source_map, target_map, mask):
    """Draws what a picture shows of a face as it looks in another view.

    Places are drawn on a coarse grid, where the points lie dense, and enlarged; the picture is
    then read at its full size.

    Args:
        picture: [H, W, 3] in [0, 1], H = W.
        source_map: [S, S, 3], where the points lie in it; as image_map has them.
        target_map: [S, S, 3], where they are to be drawn.
        mask: [S, S], the pixels that are face; bool or 0 to 1.

    Returns:
        Drawn.
    """
    size = picture.shape[0]
    side = min(size, MAX_SIDE)
    source_map, target_map = jax.lax.stop_gradient((source_map, target_map))
    source, target = source_map.reshape(-1, 3), target_map.reshape(-1, 3)
    visible = is_nearest(source, (mask > 0.5) & (facing(source_map) > MIN_FACING), side)
    nearest = is_nearest(target, (mask > 0.5) & (facing(target_map) > 0), side)
    cell = _cells(target, side)
    count = _sum_into(cell, nearest.astype(jnp.float32)[:, None], side)
    seen = (nearest & visible).astype(jnp.float32)[:, None]
    sums = _sum_into(cell, jnp.concatenate([seen, seen * source[:, :2]], axis=1), side)
    known = (sums[..., :1] > 0.5 * count).astype(jnp.float32)  # Most of what lies here is seen.
    places = sums[..., 1:] / jnp.maximum(sums[..., :1], 1)
    face = (count > 0).astype(jnp.float32)
    known, face = (_enlarge(part, size) for part in (known * face, face))
    # Enlarged together with its weight, so that unknown neighbours do not pull at a place.
    weight = (sums[..., :1] > 0).astype(jnp.float32)
    places = _enlarge(places * weight, size) / jnp.maximum(_enlarge(weight, size), 1e-3)
    x, y = jnp.moveaxis(places * size - 0.5, -1, 0)
    read = sampling.read(picture, y, x)
    return Drawn(read * known, known, face)


def facing(image_map):
    """Returns the cosine between the surface's normal and the camera, [S, S], of [S, S, 3]."""
    across = jnp.gradient(image_map, axis=1)  # Columns run to the right, rows down.
    down = jnp.gradient(image_map, axis=0)
    normal = jnp.cross(across, down)
    return normal[..., 2] / jnp.maximum(jnp.linalg.norm(normal, axis=-1), 1e-12)


def _cells(points, side):
    """Returns the cell of a side x side grid that each of points [N, 3] lies in; N cells."""
    column, row = (jnp.floor(points[:, axis] * side).astype(jnp.int32) for axis in (0, 1))
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    return jnp.where(inside, row * side + column, side * side)  # Beyond the grid: dropped.


def is_nearest(points, mask, side):
    """Tells which points [N, 3] of a mask [S, S] no other one in their cell hides, [N]."""
    cell, mask = _cells(points, side), mask.reshape(-1)
    depth = jnp.where(mask, points[:, 2], -jnp.inf)
    front = jnp.full(side * side + 1, -jnp.inf).at[cell].max(depth)
    return mask & (depth >= front[cell] - TOLERANCE) & (cell < side * side)


def _sum_into(cell, values, side):
    """Adds up values [N, C] by their cells; [side, side, C]."""
    sums = jnp.zeros((side * side + 1, values.shape[1])).at[cell].add(values)
    return sums[:-1].reshape(side, side, -1)


def _enlarge(image, size):
    if image.shape[0] == size:
        return image
    return jax.image.resize(image, (size, size, image.shape[2]), 'bilinear')
