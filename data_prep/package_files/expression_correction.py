"""Learns to correct what frames say of expressions, from made-up people, whose own are known.

The filter draws an expression towards the mean one, and takes some of it for shape. The true
coefficients are a ridge regression on those found, on how far the frame's own shape lies from the
person's, and on a constant (seqface_jax/geometric_filter/expression.py). Strong expressions count
more, as they are what one sees; a frame's strength is that of the expression found. They are still
drawn to the mean: the multiple of what is found that errs least on the strongest is taken at last.
"""

import jax
import jax.numpy as jnp
import numpy as np

from data_prep.package_files import expression_error
from seqface_jax.geometric_filter import expression

_RIDGE = 100.0  # For features of about unit variance, in weighted frames.
_MULTIPLES = (1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)  # Factors tried in turn.
_SOLVED = 1e-3  # Ridge of the true coefficients, as a share of the mixtures' mean square.


_weights_of_all = jax.jit(jax.vmap(expression.blendshape_weights, (0, None)))


def true_coefficients(movements, mean, mixtures):
    """Returns the coefficients [N, E] that best make true movements.

    Args:
        movements: [N, P, 3] mm, of the points.
        mean: [P, 3] mm, mixtures: [E, P, 3] mm, the filter's expressions.
    """
    flat = np.asarray(mixtures, np.float64).reshape(len(mixtures), -1)
    normal = flat @ flat.T
    normal += _SOLVED * np.trace(normal) / len(normal) * np.eye(len(normal))
    away = (np.asarray(movements, np.float64) - mean).reshape(len(movements), -1)
    return np.linalg.solve(normal, flat @ away.T).T


def measure(found, shapes_off, movements, geometry):
    """Learns the correction.

    Args:
        found: [N, E] coefficients of the filter.
        shapes_off: [N, K] the shape of each frame alone less that of the person.
        movements: [N, P, 3] mm, the true movement of the points.
        geometry: flagship.Geometry.

    Returns:
        [E, E + K + 1] of expression.corrected.
    """
    found, shapes_off = np.asarray(found, np.float64), np.asarray(shapes_off, np.float64)
    at_points = np.asarray(geometry.shapes_at_points, np.float64)
    mean = np.tensordot(geometry.expression_mean, at_points, 1)
    mixtures = np.tensordot(geometry.expressions, at_points, 1)
    shown = mean + np.tensordot(found, mixtures, 1)
    strength = np.square(shown).sum((1, 2))
    weights = (strength / strength.mean())[:, None]
    read = np.concatenate([found, shapes_off, np.ones((len(found), 1))], 1)
    missing = true_coefficients(movements, mean, mixtures) - found
    normal = read.T @ (weights * read) + _RIDGE * np.eye(read.shape[1])
    correction = np.linalg.solve(normal, read.T @ (weights * missing)).T
    own = np.eye(*correction.shape)  # What expression.corrected adds the correction to.
    strongest = expression_error.strongest(movements)

    def error_mm(multiple):
        moved = mean + np.tensordot(read @ (multiple * (correction + own)).T, mixtures, 1)
        moved = _with_blendshapes(moved[strongest], geometry.point_blendshapes)
        return np.linalg.norm(moved - movements[strongest], axis=-1).mean()

    return min(_MULTIPLES, key=error_mm) * (correction + own) - own


def _with_blendshapes(movements, blendshapes):
    """Returns movements [N, P, 3] mm as blendshapes [S, P, 3] with weights in [0, 1] make them."""
    arguments = (jnp.asarray(values, jnp.float32) for values in (movements, blendshapes))
    weights = _weights_of_all(*arguments)
    return np.tensordot(weights, blendshapes, 1)
