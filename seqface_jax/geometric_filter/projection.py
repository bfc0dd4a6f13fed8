"""Pinhole camera in the coordinates that one picture determines separately.

A point X (canonical, mm, relative to the centre) is at (x, y, depth) = R X in the camera's axes: x
right, y down, z forward. With the centre at distance Z on the ray of picture point c, focal length
f and scale k = f / Z, the usual f (R X + t)_xy / (R X + t)_z is

    u = (k (x, y) + c) h,      h = 1 / (1 + depth / Z),

in which f does not appear: it is k Z. So a picture gives R, c and k sharply and log Z only by the
strength of its perspective, where the priors of log Z and of log f = log k + log Z meet it.
Lengths in the picture are in units of about the face's width (see point_fit), so that all
numbers are near one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_MIN_RELATIVE_DEPTH = 0.1  # Keeps points in front of the camera, of the centre's distance.


class FrameCamera(NamedTuple):
    """Head and camera of one frame.

    Attributes:
        rotation: [3, 3] canonical to camera axes.
        centre: [2] where the centre of the head is seen, picture units.
        log_scale: [] log of picture units per mm at the centre.
        log_distance: [] log of the centre's depth in mm.
    """

    rotation: jax.Array
    centre: jax.Array
    log_scale: jax.Array
    log_distance: jax.Array


NUM_CAMERA = 7  # Unknowns: rotation 3, centre 2, log scale, log distance.


def _relative_depth(camera, turned):
    inverse_distance = jnp.exp(-camera.log_distance)
    return jnp.maximum(1 + turned[:, 2] * inverse_distance, _MIN_RELATIVE_DEPTH), inverse_distance


def project(camera, points):
    """Computes where points [P, 3] mm, relative to the centre, are seen: [P, 2] picture units."""
    turned = points @ camera.rotation.T
    depth, _ = _relative_depth(camera, turned)
    return (jnp.exp(camera.log_scale) * turned[:, :2] + camera.centre) / depth[:, None]


def project_with_derivatives(camera, points):
    """Computes places and their derivatives.

    Args:
        camera: FrameCamera.
        points: [P, 3] mm, relative to the centre.

    Returns:
        places [P, 2]; their derivative [P, 2, 3] by the points; and [P, 2, 7] by the camera, in
        the order of `moved`.
    """
    turned = points @ camera.rotation.T
    depth, inverse_distance = _relative_depth(camera, turned)
    scale = jnp.exp(camera.log_scale)
    places = (scale * turned[:, :2] + camera.centre) / depth[:, None]
    inverse_depth = 1 / depth[:, None, None]
    flat = jnp.broadcast_to(scale * jnp.eye(2, dtype=points.dtype), (len(points), 2, 2))
    forward = -places[..., None] * inverse_distance
    by_turned = jnp.concatenate([flat, forward], -1) * inverse_depth  # [P, 2, 3]
    by_points = by_turned @ camera.rotation
    by_rotation = jnp.cross(points[:, None], by_points)
    by_centre = flat / scale * inverse_depth
    by_scale = scale * turned[:, :2, None] * inverse_depth
    by_distance = -forward * turned[:, 2, None, None] * inverse_depth
    by_camera = jnp.concatenate([by_rotation, by_centre, by_scale, by_distance], -1)
    return places, by_points, by_camera


def moved(camera, step):
    """Moves a camera by step [7]: rotation from the right, then the rest by addition."""
    return FrameCamera(
        camera.rotation @ rotation_of(step[:3]),
        camera.centre + step[3:5],
        camera.log_scale + step[5],
        camera.log_distance + step[6],
    )


def rotation_of(vector):
    """Computes a rotation [3, 3] about vector [3], by its length in radians to second order.

    Cayley's map: a rotation for every vector, with derivatives of all orders at zero.
    """
    x, y, z = vector
    zero = jnp.zeros_like(x)
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    squared = vector @ vector
    return jnp.eye(3, dtype=vector.dtype) + 4 / (4 + squared) * (cross + 0.5 * cross @ cross)


def angles_rad(rotation):
    """Computes yaw (to the subject's left) and pitch (down) of a rotation [3, 3] to the camera.

    The Euler angles Y, X of pose_regression; roll does not matter to them.
    """
    forward = rotation[:, 2] * jnp.array([1.0, -1.0, -1.0], rotation.dtype)
    sideways = jnp.sqrt(forward[0] ** 2 + forward[2] ** 2 + 1e-12)
    return jnp.arctan2(forward[0], forward[2]), jnp.arctan2(-forward[1], sideways)
