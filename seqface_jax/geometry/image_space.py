"""What a position map in image space says: the pose of the head, and the face in mm.

An image map holds for every pixel of the position map's grid where the point lies in the image:
x right and y down in units of the image's width, z towards the camera in the same unit, as seen
by a camera without perspective. It has no metric scale: whoever asks for mm gets the size of the
mean face.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_FLIP = np.array([1, -1, 1], np.float32)  # Image axes to right-handed ones, y up.


class ImagePose(NamedTuple):
    """How a face lies in an image: place = scale * rotation @ point + translation, y up.

    Attributes:
        scale: [...], widths of the image per mm.
        rotation: [..., 3, 3] from the canonical frame to the camera's (x right, y up, z towards
            the camera).
        translation: [..., 3], in widths of the image; y up, so that y is minus the row.
    """

    scale: jax.Array
    rotation: jax.Array
    translation: jax.Array

    def angles_deg(self):
        """Returns yaw, pitch and roll in degrees, [..., 3]: R = R_z(roll) R_x(pitch) R_y(yaw).

        Yaw turns the head to its left, pitch lifts the chin, roll leans the head to its right.
        """
        r = self.rotation
        yaw = jnp.arctan2(-r[..., 2, 0], r[..., 2, 2])
        pitch = -jnp.arcsin(jnp.clip(r[..., 2, 1], -1, 1))
        roll = jnp.arctan2(-r[..., 0, 1], r[..., 1, 1])
        return jnp.degrees(jnp.stack([yaw, pitch, roll], axis=-1))

    def place(self, points):
        """Returns the image map of canonical points [..., S, S, 3] mm."""
        turned = jnp.einsum('...ij,...hwj->...hwi', self.rotation, points)
        placed = self.scale[..., None, None, None] * turned
        return (placed + self.translation[..., None, None, :]) * _FLIP

    def undo(self, image_map):
        """Returns the canonical points of an image map, [..., S, S, 3] mm."""
        centred = image_map * _FLIP - self.translation[..., None, None, :]
        turned = jnp.einsum('...ji,...hwj->...hwi', self.rotation, centred)
        return turned / self.scale[..., None, None, None]


def rotation(angles_rad):
    """Returns the rotations [..., 3, 3] of yaw, pitch and roll [..., 3]; see ImagePose."""
    yaw, pitch, roll = jnp.moveaxis(angles_rad, -1, 0)
    zero, one = jnp.zeros_like(yaw), jnp.ones_like(yaw)

    def matrix(*rows):
        return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)

    cos, sin = jnp.cos(yaw), jnp.sin(yaw)
    about_y = matrix((cos, zero, sin), (zero, one, zero), (-sin, zero, cos))
    cos, sin = jnp.cos(-pitch), jnp.sin(-pitch)
    about_x = matrix((one, zero, zero), (zero, cos, -sin), (zero, sin, cos))
    cos, sin = jnp.cos(roll), jnp.sin(roll)
    about_z = matrix((cos, -sin, zero), (sin, cos, zero), (zero, zero, one))
    return about_z @ about_x @ about_y


def fit_pose(image_map, face, weights):
    """Finds the similarity that best carries a face onto an image map.

    Weighted least squares over the pixels; Umeyama, 1991, eqs. 40-42, on the device.

    Args:
        image_map: [..., S, S, 3].
        face: [..., S, S, 3] mm, canonical frame, such as the mean face.
        weights: [..., S, S] not negative, how much a pixel counts.

    Returns:
        ImagePose.
    """
    weights = weights / jnp.maximum(weights.sum(axis=(-2, -1), keepdims=True), 1e-9)
    target = image_map * _FLIP

    def mean(points):
        return (weights[..., None] * points).sum(axis=(-3, -2))

    source_mean, target_mean = mean(face), mean(target)
    source = face - source_mean[..., None, None, :]
    target = target - target_mean[..., None, None, :]
    covariance = jnp.einsum('...hw,...hwi,...hwj->...ij', weights, target, source)
    u, singular, vt = jnp.linalg.svd(covariance)
    # The last axis is flipped where the best orthogonal matrix would mirror.
    sign = jnp.where(jnp.linalg.det(u @ vt) < 0, -1.0, 1.0)
    signs = jnp.stack([jnp.ones_like(sign), jnp.ones_like(sign), sign], axis=-1)
    rotation = (u * signs[..., None, :]) @ vt
    variance = (weights * jnp.square(source).sum(axis=-1)).sum(axis=(-2, -1))
    scale = (singular * signs).sum(axis=-1) / jnp.maximum(variance, 1e-9)
    scale = jnp.maximum(scale, 1e-6)  # A map collapsed to a point has a pose too.
    turned_mean = jnp.einsum('...ij,...j->...i', rotation, source_mean)
    return ImagePose(scale, rotation, target_mean - scale[..., None] * turned_mean)


def canonical(image_map, mean_map, weights, known=None):
    """Turns an image map into the position map of a face of the mean face's size.

    Args:
        image_map: [..., S, S, 3].
        mean_map: [M, M, 3] mm.
        weights: [M, M], how much a pixel counts; one of S and M is a multiple of the other.
        known: [..., M, M] bool, where the image map says something: elsewhere the mean face stands.
            None: everywhere.

    Returns:
        [..., min(S, M), min(S, M), 3] mm, canonical frame. Not differentiated.
    """
    side = min(image_map.shape[-2], mean_map.shape[-2])
    image_map = jax.lax.stop_gradient(strided(image_map, side))
    mean_map = strided(mean_map, side)
    stride = weights.shape[-1] // side
    if known is not None:
        weights = weights * known
    pose = fit_pose(image_map, mean_map, weights[..., ::stride, ::stride])
    position_map = pose.undo(image_map)
    if known is None:
        return position_map
    return jnp.where(known[..., ::stride, ::stride, None], position_map, mean_map)


def strided(maps, side):
    """Returns every n-th row and column of maps [..., S, S, C], S a multiple of side."""
    stride = maps.shape[-2] // side
    return maps[..., ::stride, ::stride, :]
