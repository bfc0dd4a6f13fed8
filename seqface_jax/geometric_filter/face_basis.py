"""Linear model of neutral faces, and of the template points that a network measures.

A neutral face is `mean + sum_k z_k basis_k` with z ~ N(0, I). The basis is size-normalised: the
shapes it was made from all have the same size, so z holds no size and no frame can move it. The
world's size has a stated relative deviation, which only widens the band:

    vertex covariance = basis' Cov(z) basis + size_deviation^2 (v - centre) (v - centre)'.

A frame shows P of the vertices, moved by an expression `expression_mean + sum_j e_j expressions_j`
with e ~ N(0, I), and drawn by a network whose errors within one frame go together:
`sum_r n_r common_r` with n ~ N(0, I), in units of the face's width in the picture.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax.errors import UserError
from seqface_jax.geometric_filter.information import on_device


class FaceBasis(NamedTuple):
    """Neutral faces of all people.

    Attributes:
        mean: [V, 3] mm, canonical frame.
        basis: [K, V, 3] mm for one standard deviation of each coefficient.
        size_deviation: [] relative standard deviation of the size of a face.
    """

    mean: jax.Array
    basis: jax.Array
    size_deviation: jax.Array


class PointModel(NamedTuple):
    """What a frame's points depend on; made once by `make_point_model`.

    Attributes:
        centre: [3] mm, canonical; the head turns about it.
        mean: [P, 3] mm, mean neutral points plus the mean expression, relative to the centre.
        directions: [3, P, K + E] mm, change of x, y, z with each shape and expression coefficient.
        common: [R, P, 2] layouts of the errors of one frame, x right and y down, in face widths.
        width_mm: [] width of the mean points.
    """

    centre: jax.Array
    mean: jax.Array
    directions: jax.Array
    common: jax.Array
    width_mm: jax.Array


def make_face_basis(mean, basis, size_deviation):
    """Returns the FaceBasis of arrays of any precision, in float32."""
    return FaceBasis(*on_device(mean, basis, size_deviation))


def make_point_model(face_basis, indices, expression_mean, expressions, common=None):
    """Restricts a FaceBasis to the measured vertices and joins the other layouts to it.

    Args:
        face_basis: FaceBasis.
        indices: [P] integers, the measured vertices.
        expression_mean: [P, 3] mm, mean displacement by expression.
        expressions: [E, P, 3] mm, displacement for one standard deviation; E may be 0.
        common: [R, P, 2] face widths, errors that points of a frame share; None for none.

    Returns:
        PointModel, float32.

    Raises:
        UserError: the arrays do not fit together.
    """
    indices = np.asarray(indices)
    num_points, num_vertices = len(indices), face_basis.mean.shape[0]
    common = np.zeros((0, num_points, 2)) if common is None else np.asarray(common)
    shapes = {
        'mean of the face basis': (np.shape(face_basis.mean), (num_vertices, 3)),
        'face basis': (np.shape(face_basis.basis)[1:], (num_vertices, 3)),
        'mean expression': (np.shape(expression_mean), (num_points, 3)),
        'expressions': (np.shape(expressions)[1:], (num_points, 3)),
        'common errors': (common.shape[1:], (num_points, 2)),
    }
    for name, (shape, expected) in shapes.items():
        if shape != expected:
            raise UserError(
                f'the {name} has shape {shape} where {expected} fits {num_points} points of '
                f'{num_vertices} vertices: make it for the same template and points'
            )
    if num_points and not 0 <= indices.min() <= indices.max() < num_vertices:
        raise UserError(
            f'a point is vertex {indices.min()} or {indices.max()} of a template with '
            f'{num_vertices} vertices: use the indices of that template'
        )
    points = np.asarray(face_basis.mean, np.float32)[indices]
    centre = points.mean(0)
    directions = np.concatenate(
        [np.asarray(face_basis.basis, np.float32)[:, indices], np.asarray(expressions)]
    )
    mean = points - centre + expression_mean
    layouts = directions.transpose(2, 1, 0), common
    return PointModel(*on_device(centre, mean, *layouts, np.ptp(points[:, 0])))


@jax.jit
def face_vertices(face_basis, coefficients):
    """Computes the neutral face [V, 3] mm of coefficients [K]."""
    with jax.default_matmul_precision('highest'):
        return face_basis.mean + jnp.tensordot(coefficients, face_basis.basis, 1)


@jax.jit
def vertex_deviation_mm(face_basis, coefficients, covariance):
    """Computes the root mean square distance of each vertex from the truth, as believed.

    Args:
        face_basis: FaceBasis.
        coefficients: [K] posterior mean.
        covariance: [K, K] posterior covariance.

    Returns:
        [V] mm: root of the trace of the vertex's covariance, the size's deviation included.
    """
    with jax.default_matmul_precision('highest'):
        vertices = face_vertices(face_basis, coefficients)
        flat = face_basis.basis.reshape(len(coefficients), -1)  # [K, V 3]
        variance = jnp.sum(flat * (covariance @ flat), 0).reshape(-1, 3).sum(-1)
        from_centre = vertices - vertices.mean(0)
        size_variance = face_basis.size_deviation**2 * jnp.sum(from_centre**2, -1)
        return jnp.sqrt(jnp.maximum(variance, 0) + size_variance + 1e-12)
