"""What a face looks like point by point: the frame read where the head's pose puts the mean face.

Two people's noses are then at the same pixel, wherever they look, and what differs is the person:
a network that sees faces like this needs fewer people to learn from. The pose is the one that a
linear regression says (pose_regression.py), here on the device and for whole batches; frames are
cut out by face_detection, so that a frame is the square that the second regression looks at.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqface_jax import pose_regression
from seqface_jax.models.oriented_gradients import OrientedGradients

# Of the crop, its side 1: a face of SQUARE_MM from the assumed distance.
FOCAL = pose_regression.DISTANCE_MM / pose_regression.SQUARE_MM
# Histograms of a crop -> rotation vector, place and size of the head; see pose_regression.
WEIGHTS_SHAPE = (
    (pose_regression.CROP_PX // pose_regression.CELL_PX) ** 2 * pose_regression.DIRECTIONS,
    6,
)
COS_HIDDEN, COS_SEEN = 0.1, 0.3  # Of normal and line of sight: a point counts from the one on.


class UnwrappedGradients(nn.Module):
    """Turns each frame into oriented gradients of itself and of the face unwrapped from it.

    No parameters.

    Attributes:
        features: number of directions over half a turn.
        stride: side of a cell, in pixels of the frame and of the unwrapped face, whose side is
            that of the map [128, 128].
    """

    features: int = 8
    stride: int = 8

    @nn.compact
    def __call__(self, x, constants):
        """Returns the histograms of the frame and those of the face.

        Args:
            x: [N, H, H, 3] frames.
            constants: dict of mean_map [S, S, 3] mm, the mean face, S a multiple of stride, and
                what `regressions` returns.

        Returns:
            [N, H / stride, H / stride, features] and [N, S / stride, S / stride, features]; the
            latter are 0 where the face is not seen.
        """
        gradients = OrientedGradients(self.features, self.stride)
        gray = x.mean(axis=-1)
        pose = regress(gray, constants['pose_weights'], constants['pose_bias'])
        places, cosine = project(constants['mean_map'], *pose)
        face = gradients(read(gray, places)[..., None], train=False)
        seen = jnp.clip((cosine - COS_HIDDEN) / (COS_SEEN - COS_HIDDEN), 0, 1)
        seen = nn.avg_pool(seen[..., None], (self.stride,) * 2, (self.stride,) * 2)
        return gradients(x, train=False), face * seen


def regressions():
    """Returns pose_weights and pose_bias of the package's second regression, as constants."""
    known = pose_regression.known()
    return {'pose_weights': known['weights'][1], 'pose_bias': known['bias'][1]}


def regress(gray, weights, bias):
    """Tells the pose of the head in each frame, seen by a camera that looks at its middle.

    Args:
        gray: [N, H, H] brightness, H a multiple of 64 or a divisor of it.
        weights, bias: of WEIGHTS_SHAPE and [6].

    Returns:
        rotation [N, 3, 3] and the place of the head's CENTRE, [N, 3] mm, both in the camera's
        frame.
    """
    size = pose_regression.CROP_PX
    small = jax.image.resize(gray, (len(gray), size, size), 'linear')  # Averages if it shrinks.
    layer = OrientedGradients(pose_regression.DIRECTIONS, pose_regression.CELL_PX)
    features = layer.apply({}, small[..., None], train=False)
    answer = features.reshape(len(gray), -1) @ weights + bias
    x, y = answer[:, 3] / FOCAL, -answer[:, 4] / FOCAL
    ray = jnp.stack([x, y, -jnp.ones_like(x)], axis=-1)
    ray = ray / jnp.linalg.norm(ray, axis=-1, keepdims=True)
    distance = pose_regression.DISTANCE_MM * jnp.exp(-answer[:, 5])
    return rotation_matrix(answer[:, :3]), ray * distance[:, None]


def rotation_matrix(vector):
    """Returns the rotations [N, 3, 3] about vectors [N, 3] by their lengths in radians."""
    angle = jnp.sqrt(jnp.square(vector).sum(axis=-1) + 1e-12)[:, None, None]
    x, y, z = jnp.moveaxis(vector, -1, 0)
    zero = jnp.zeros_like(x)
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    # Rodrigues' formula.
    return (
        jnp.eye(3)
        + jnp.sin(angle) / angle * cross
        + (1 - jnp.cos(angle)) / angle**2 * (cross @ cross)
    )


def project(mean_map, rotation, centre):
    """Tells where each point of the mean face is seen, and how flat.

    Args:
        mean_map: [S, S, 3] mm.
        rotation, centre: as of `regress`.

    Returns:
        places [N, S, S, 2], column and row in [0, 1] of the frame, and the cosine of surface normal
        and line of sight [N, S, S].
    """
    down, across = jnp.gradient(mean_map, axis=(0, 1))
    normal = jnp.cross(down, across)
    normal = normal / jnp.maximum(jnp.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    # Plane by plane: matrices of 3 x 3 are what a CPU is slow at.
    offset = jnp.moveaxis(mean_map - pose_regression.CENTRE, -1, 0)
    normal = jnp.moveaxis(normal, -1, 0)

    def turn(vectors, axis):
        return sum(rotation[:, axis, j, None, None] * vectors[j] for j in range(3))

    x, y, z = (turn(offset, axis) + centre[:, axis, None, None] for axis in range(3))
    cosine = -sum(turn(normal, axis) * seen for axis, seen in enumerate((x, y, z)))
    cosine = cosine / jnp.sqrt(x**2 + y**2 + z**2)
    scale = FOCAL / jnp.maximum(-z, 1.0)
    return jnp.stack([0.5 + scale * x, 0.5 - scale * y], axis=-1), cosine


def read(gray, places):
    """Returns the brightness [N, S, S] of frames [N, H, H] at places [N, S, S, 2] in [0, 1].

    Between pixels linearly; beyond the frame its edge goes on.
    """
    size = gray.shape[1]
    at = jnp.clip(places * size - 0.5, 0, size - 1)
    corner = jnp.clip(jnp.floor(at), 0, size - 2)
    column, row = jnp.moveaxis(corner.astype(jnp.int32), -1, 0)
    right, below = jnp.moveaxis(at - corner, -1, 0)
    flat = gray.reshape(len(gray), -1)
    first = (row * size + column).reshape(len(gray), -1)

    def take(offset):
        return jnp.take_along_axis(flat, first + offset, axis=1).reshape(row.shape)

    upper = take(0) * (1 - right) + take(1) * right
    lower = take(size) * (1 - right) + take(size + 1) * right
    return upper * (1 - below) + lower * below
