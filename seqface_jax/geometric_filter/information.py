"""What measurements say about shape, as information: matrices and vectors that add up.

A frame's likelihood of the observed shape o, all its own unknowns q eliminated, is
exp(-o' L o / 2 + v' o). From the joint normal equations of o and q, linearised at (o0, q0),

    [ Hoo  Hoq ]   [ go ]          L = Hoo - Hoq Hqq^-1 Hqo
    [ Hqo  Hqq ] , [ gq ]    =>    v = L o0 + go - Hoq Hqq^-1 gq        (Schur complement),

where Hqq and gq hold the priors of q, and nothing holds a prior of o.

The observed shape is o = z + c: the person's z ~ N(0, I) and an error c ~ N(mu, S) that *all*
frames share, which no number of frames averages out. With the gain G = (I + S)^-1 and all the
frames' information (L, v),

    o: information A = G + L, mean m = A^-1 (G mu + v)                    (observed)
    z: mean G (m - mu), covariance I - G + G A^-1 G                       (person)

because z given o is N(G (o - mu), I - G). Neither L nor S is inverted: both may be singular. Where
L is large and S is not zero, z keeps the covariance I - G; where S is large, z stays at the mean
face.

n frames of one view whose errors correlate by rho are worth n / (1 + (n - 1) rho) frames.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax.errors import UserError

# Added to a unit diagonal, so that float32 rounding cannot make a matrix indefinite.
_JITTER = 2e-6


class Gaussian(NamedTuple):
    """A belief by its mean [K] and its information [K, K]."""

    mean: jax.Array
    information: jax.Array


class Posterior(NamedTuple):
    """A belief by its mean [K] and its covariance [K, K]."""

    mean: jax.Array
    covariance: jax.Array


class SharedError(NamedTuple):
    """The error that all frames share; made by `make_shared_error`.

    Attributes:
        mean: [K] mu.
        gain: [K, K] G = (I + S)^-1.
    """

    mean: jax.Array
    gain: jax.Array


def make_shared_error(mean, covariance):
    """Returns the SharedError of mean [K] and covariance [K, K]; zeros where there is none.

    Raises:
        UserError: the covariance has another shape, is not symmetric or not positive semidefinite.
    """
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if covariance.shape != (len(mean), len(mean)):
        raise UserError(
            f'the covariance of the shared error has shape {covariance.shape}, its mean has '
            f'{len(mean)} coefficients: measure both for the same basis'
        )
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    tolerance = 1e-6 * max(1.0, np.abs(values).max())
    if values.min() < -tolerance or np.abs(covariance - covariance.T).max() > tolerance:
        raise UserError(
            'the covariance of the shared error is not symmetric and positive semidefinite: '
            'compute it as the mean of outer products'
        )
    gain = (vectors / (1 + np.maximum(values, 0))) @ vectors.T
    return SharedError(jnp.asarray(mean, jnp.float32), jnp.asarray(gain, jnp.float32))


def factor(matrix):
    """Returns a solver of `matrix @ x = right` for symmetric positive matrices [N, N].

    The matrix is scaled to a unit diagonal and factored by Cholesky.

    Returns:
        (lower [N, N], scale [N]) for `solve` and `whiten`.
    """
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diagonal(matrix), 1e-20))
    scaled = matrix * scale * scale[:, None]
    lower = jnp.linalg.cholesky(
        scaled + _JITTER * jnp.eye(len(matrix), dtype=matrix.dtype), symmetrize_input=False
    )
    return lower, scale


def whiten(factored, right):
    """Returns x [N, M] with x' x = right' matrix^-1 right."""
    lower, scale = factored
    return jax.scipy.linalg.solve_triangular(lower, scale[:, None] * right, lower=True)


def solve(factored, right):
    """Returns matrix^-1 right for right [N] or [N, M]."""
    lower, scale = factored
    columns = right if right.ndim == 2 else right[:, None]
    half = whiten(factored, columns)
    whole = jax.scipy.linalg.solve_triangular(lower, half, lower=True, trans=1)
    return (scale[:, None] * whole).reshape(right.shape)


def eliminate(normal, gradient, num_kept):
    """Eliminates all unknowns after the first `num_kept` by Schur complement.

    Args:
        normal: [N, N] normal matrix with priors of what is eliminated.
        gradient: [N] right-hand side.
        num_kept: K.

    Returns:
        [K, K] matrix and [K] right-hand side.
    """
    kept, rest = slice(None, num_kept), slice(num_kept, None)
    columns = jnp.concatenate([normal[rest, kept], gradient[rest, None]], 1)
    half = whiten(factor(normal[rest, rest]), columns)
    matrix = normal[kept, kept] - half[:, :-1].T @ half[:, :-1]
    return (matrix + matrix.T) / 2, gradient[kept] - half[:, :-1].T @ half[:, -1]


def effective_share(count, correlation):
    """Returns n_eff / n of `count` frames of one view whose errors correlate, 0 to 1."""
    return 1 / (1 + jnp.maximum(count - 1, 0) * correlation)


def observed(information, vector, shared):
    """Returns the Gaussian of the observed shape, of all frames' information and vector."""
    total = shared.gain + information
    mean = solve(factor(total), shared.gain @ shared.mean + vector)
    return Gaussian(mean, total)


def person(belief, shared):
    """Returns the Posterior of the person's shape, of the Gaussian of the observed shape."""
    half = whiten(factor(belief.information), shared.gain)
    identity = jnp.eye(len(belief.mean), dtype=belief.mean.dtype)
    covariance = identity - shared.gain + half.T @ half
    return Posterior(shared.gain @ (belief.mean - shared.mean), (covariance + covariance.T) / 2)
