"""What a face looks like point by point: the frame read where the head's pose puts the mean face.

Two people's noses are then at the same pixel, wherever they look, and what differs is the person:
a network that sees faces like this needs fewer people to learn from. The pose is the one that a
linear regression says (pose_regression.py), here on the device and for whole batches; frames are
cut out by face_detection, so that a frame is the square that the second regression looks at. It is
a few degrees off, which the unwrapped face shows: further regressions read it there (Xiong and De
la Torre, 2013, the supervised descent method; data_prep/package_files/pose_refinement.py).
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from seqface_jax.geometry import map_grid, sampling
from seqface_jax.models.layers.oriented_gradients import OrientedGradients
from seqface_jax.photos import pose_regression

# Focal length in crop sides: a face of SQUARE_MM at the assumed distance fills the crop.
FOCAL = pose_regression.DISTANCE_MM / pose_regression.SQUARE_MM
# Histograms of a crop -> rotation vector, place and size of the head; see pose_regression.
WEIGHTS_SHAPE = (
    (pose_regression.CROP_PX // pose_regression.CELL_PX) ** 2 * pose_regression.DIRECTIONS,
    6,
)
MAX_REFINEMENTS = 3  # Most refinements of a pose: the package has so many regressions.
# Cosine of normal and line of sight where a point begins to count, and counts fully.
COS_HIDDEN, COS_SEEN = 0.1, 0.3


class UnwrappedGradients(nn.Module):
    """Turns each frame into oriented gradients of itself and of the face unwrapped from it.

    No parameters.

    Attributes:
        features: number of directions over half a turn.
        stride: side of a cell, in pixels of the frame and of the unwrapped face, whose side is
            that of the map [128, 128].
        refinements: how often the pose is corrected by what the face looks like, unwrapped at it;
            at most MAX_REFINEMENTS.
    """

    features: int = 8
    stride: int = 8
    refinements: int = 0

    @nn.compact
    def __call__(self, x, constants):
        """Returns the histograms of the frame and those of the face, and how the head is turned.

        Args:
            x: [N, H, H, 3] frames.
            constants: dict of mean_map [S, S, 3] mm, the mean face, S a multiple of stride, and
                what `regressions` returns.

        Returns:
            [N, H / stride, H / stride, features] and [N, S / stride, S / stride, features]; the
            latter are 0 where the face is not seen. Rotation vector [N, 3], radians.
        """
        gradients = OrientedGradients(self.features, self.stride)
        gray = x.mean(axis=-1)
        small = small_frames(gray)
        answer = find_pose(small, constants, self.refinements)
        places, cosine = project(constants['mean_map'], *head(answer))
        face = gradients(read(gray, places)[..., None], train=False)
        return gradients(x, train=False), face * _seen(cosine, self.stride), answer[:, :3]


def regressions(refinements=0):
    """Returns what the package knows of poses, as constants: arrays by name, see `shapes`."""
    known = pose_regression.known()
    constants = {'pose_weights': known['weights'][1], 'pose_bias': known['bias'][1]}
    if refinements:
        constants['pose_points'] = known['points'].astype(np.float32)
        path = os.path.join(os.path.dirname(__file__), 'pose_refinement.npz')
        with np.load(path) as arrays:
            constants['refining_weights'] = arrays['weights'][:refinements].astype(np.float32)
            constants['refining_bias'] = arrays['bias'][:refinements]
    return constants


def shapes(refinements=0):
    """Returns the shapes of the constants that a layer with so many refinements reads."""
    read_by_all = {'pose_weights': WEIGHTS_SHAPE, 'pose_bias': WEIGHTS_SHAPE[1:]}
    if not refinements:
        return read_by_all
    return read_by_all | {
        'pose_points': (pose_regression.CROP_PX, pose_regression.CROP_PX, 3),
        'refining_weights': (refinements, *WEIGHTS_SHAPE),
        'refining_bias': (refinements, *WEIGHTS_SHAPE[1:]),
    }


def small_frames(gray):
    """Returns frames [N, H, H] as the regressions see them, [N, 64, 64]."""
    size = pose_regression.CROP_PX
    return jax.image.resize(gray, (len(gray), size, size), 'linear')  # Averages if it shrinks.


def find_pose(small, constants, refinements):
    """Tells the pose of the head in each frame: regressed, and refined so many times.

    Args:
        small: [N, 64, 64] brightness.
        constants: dict of what `regressions` returns.
        refinements: at most as many as the constants hold.

    Returns:
        [N, 6], as of pose_regression.answer_of.
    """
    answer = regress(small, constants['pose_weights'], constants['pose_bias'])
    for step in range(refinements):
        face = look_at(small, answer, constants['pose_points'])
        answer += face @ constants['refining_weights'][step] + constants['refining_bias'][step]
    return answer


def regress(small, weights, bias):
    """Tells the pose of the head in each frame from the gradients of the frame.

    Args:
        small: [N, 64, 64] brightness.
        weights, bias: of WEIGHTS_SHAPE and [6].

    Returns:
        [N, 6], as of pose_regression.answer_of.
    """
    layer = OrientedGradients(pose_regression.DIRECTIONS, pose_regression.CELL_PX)
    features = layer.apply({}, small[..., None], train=False)
    return features.reshape(len(small), -1) @ weights + bias


def look_at(small, answer, points):
    """Returns the gradients of a face unwrapped at a pose: they show what the pose lacks.

    Args:
        small: [N, 64, 64] brightness.
        answer: [N, 6], the pose, as of `regress`.
        points: [64, 64, 3] mm, the face that is looked for.

    Returns:
        [N, 2048]; 0 where that face is not seen.
    """
    layer = OrientedGradients(pose_regression.DIRECTIONS, pose_regression.CELL_PX)
    places, cosine = project(points, *head(answer))
    face = layer.apply({}, read(small, places)[..., None], train=False)
    return (face * _seen(cosine, pose_regression.CELL_PX)).reshape(len(small), -1)


def _seen(cosine, stride):
    """Returns how much of each cell faces the camera, [N, S / stride, S / stride, 1]."""
    seen = jnp.clip((cosine - COS_HIDDEN) / (COS_SEEN - COS_HIDDEN), 0, 1)
    return nn.avg_pool(seen[..., None], (stride,) * 2, (stride,) * 2)


def head(answer):
    """Returns where the head is that the regressions speak of, seen by a camera at its middle.

    Args:
        answer: [N, 6], as of `regress`.

    Returns:
        rotation [N, 3, 3] and the place of the head's CENTRE, [N, 3] mm, both in the camera's
        frame.
    """
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
    # Plane by plane: matrices of 3 x 3 are what a CPU is slow at.
    offset = jnp.moveaxis(mean_map - pose_regression.CENTRE, -1, 0)
    normal = jnp.moveaxis(map_grid.normals(jnp.asarray(mean_map)), -1, 0)

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
    column, row = jnp.moveaxis(places * gray.shape[1] - 0.5, -1, 0)
    return jax.vmap(sampling.read)(gray, row, column)
