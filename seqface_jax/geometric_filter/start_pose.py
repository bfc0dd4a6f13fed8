"""Pose of a head by weak perspective: the start of point_fit.

Places are an affine map of points, u = A X + b, found by least squares with weights that fall with
the distance from the last fit (Cauchy's). Polar decomposition makes A a scaled pair of rows of
a rotation: with S = A A',  (A nearest) = s S^{-1/2} A,  s the mean singular value. Roots of 2 x 2
matrices are in closed form, so that derivatives stay finite.
"""

import jax
import jax.numpy as jnp

from seqface_jax.geometric_filter import projection

_ROUNDS = 4  # Rounds of robust least squares.
_RIDGE = 1e-4  # Weight of the prior that the head looks into the camera, relative to the points.


def start_camera(points, places, weights, scale, log_distance):
    """Finds rotation, centre and scale of points seen in a picture.

    Args:
        points: [P, 3] mm, relative to the centre.
        places: [P, 2] pixels.
        weights: [P] at least 0.
        scale: [] pixels per mm, expected; the answer where no point is seen.
        log_distance: [] handed on.

    Returns:
        projection.FrameCamera whose picture units are pixels.
    """
    size = jnp.sqrt(jnp.mean(jnp.sum(points**2, -1)))
    design = jnp.concatenate([points / size, jnp.ones_like(points[:, :1])], 1)  # [P, 4]
    frontal = jnp.array([[1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0]]) * scale * size
    weights = weights / (jnp.sum(weights) + 1e-6)

    def fit(robust, _):
        weighted = design * robust[:, None]
        normal = weighted.T @ design + _RIDGE * jnp.eye(4)
        affine = jnp.linalg.solve(normal, weighted.T @ places + _RIDGE * frontal.T).T  # [2, 4]
        squared = jnp.sum((places - design @ affine.T) ** 2, -1)
        cut = jnp.sum(weights * squared) / 4 + 1e-6  # Well below the mean: outliers fill it.
        robust = weights * cut / (cut + squared)
        return robust / (jnp.sum(robust) + 1e-6), affine

    _, rounds = jax.lax.scan(fit, weights, length=_ROUNDS)
    affine = rounds[-1]
    rows, mean_scale = _nearest_rows(affine[:, :3])
    rotation = jnp.concatenate([rows, jnp.cross(rows[0], rows[1])[None]])
    return projection.FrameCamera(
        rotation, affine[:, 3], jnp.log(mean_scale / size + 1e-9), log_distance
    )


def _nearest_rows(affine):
    """Returns the two unit rows nearest to [2, 3] and the mean of its singular values."""
    scale = jnp.sqrt(jnp.sum(affine**2) + 1e-12)
    affine = affine / scale
    square = affine @ affine.T + 1e-6 * jnp.eye(2)
    root_determinant = jnp.sqrt(square[0, 0] * square[1, 1] - square[0, 1] ** 2)
    root_trace = jnp.sqrt(square[0, 0] + square[1, 1] + 2 * root_determinant)
    root = (square + root_determinant * jnp.eye(2)) / root_trace
    rows = jnp.linalg.solve(root, affine)
    return rows, scale * root_trace / 2
