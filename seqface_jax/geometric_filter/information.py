"""What measurements say about shape, as information: matrices and vectors that add up.

A frame's likelihood of the observed shape o, all its own unknowns q eliminated, is
exp(-o' L o / 2 + v' o). From the joint normal equations of o and q, linearised at (o0, q0),

    [ Hoo  Hoq ]   [ go ]          L = Hoo - Hoq Hqq^-1 Hqo
    [ Hqo  Hqq ] , [ gq ]    =>    v = L o0 + go - Hoq Hqq^-1 gq        (Schur complement),

where Hqq and gq hold the priors of q, and nothing holds a prior of o.

The observed shape is o = D z + c: the person's z ~ N(0, I); a diagonal gain D, by which the
network draws what it does not see towards its mean; and an error c ~ N(mu, S) that *all* frames
share, which no number of frames averages out. With P = D^2 + S, the covariance of o beforehand,
W = D P^-1, and all the frames' information (L, v),

    o: information A = P^-1 + L, mean m = A^-1 (P^-1 mu + v)            (observed)
    z: mean W (m - mu), covariance I - W D + W A^-1 W'                  (person)

because z given o is N(W (o - mu), I - W D). L is not inverted and may be singular. Where L is large
and S is not zero, z keeps the covariance I - W D; where S is large or D small, z stays at the mean
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
_BLOCK = 16  # Side of the blocks that a triangular solver is asked for.


class Gaussian(NamedTuple):
    """A belief by its mean [K] and its information [K, K]."""

    mean: jax.Array
    information: jax.Array


class Posterior(NamedTuple):
    """A belief by its mean [K] and its covariance [K, K]."""

    mean: jax.Array
    covariance: jax.Array


class SharedError(NamedTuple):
    """What all frames get wrong alike; made by `make_shared_error`.

    Attributes:
        mean: [K] mu.
        information: [K, K] P^-1.
        regression: [K, K] W.
        unseen: [K, K] I - W D, the covariance of z that no number of frames takes away.
    """

    mean: jax.Array
    information: jax.Array
    regression: jax.Array
    unseen: jax.Array


def make_shared_error(mean, covariance, gain=None):
    """Returns the SharedError of a mean, a covariance and a gain.

    Args:
        mean: [K] mu; zeros where there is none.
        covariance: [K, K] S; zeros where there is none.
        gain: [K] diagonal of D, ones if left out.

    Raises:
        UserError: the covariance has another shape, is not symmetric or not positive semidefinite,
            or a coefficient is neither seen nor uncertain.
    """
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    gain = np.ones(len(mean)) if gain is None else np.asarray(gain, np.float64)
    if covariance.shape != (len(mean), len(mean)) or gain.shape != mean.shape:
        raise UserError(
            f'the covariance of the shared error has shape {covariance.shape}, its mean has '
            f'{len(mean)} coefficients and its gain {gain.shape}: measure all for the same basis'
        )
    values = np.linalg.eigvalsh((covariance + covariance.T) / 2)
    tolerance = 1e-6 * max(1.0, np.abs(values).max())
    if values.min() < -tolerance or np.abs(covariance - covariance.T).max() > tolerance:
        raise UserError(
            'the covariance of the shared error is not symmetric and positive semidefinite: '
            'compute it as the mean of outer products'
        )
    before = np.diag(gain**2) + (covariance + covariance.T) / 2
    if np.linalg.eigvalsh(before).min() < 1e-9:
        raise UserError(
            'a coefficient has neither gain nor error: measure both on more people than one'
        )
    inverse = np.linalg.inv(before)
    regression = gain[:, None] * inverse
    unseen = np.eye(len(mean)) - regression * gain
    arrays = mean, inverse, regression, (unseen + unseen.T) / 2
    return SharedError(*on_device(*arrays))


def on_device(*arrays):
    """Returns arrays of any precision on the device, in float32."""
    # NumPy changes the type: JAX would compile a program for each shape.
    return jax.device_put([np.asarray(array, np.float32) for array in arrays])


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
    return inverse_of_lower(lower) @ (scale[:, None] * right)


def solve(factored, right):
    """Returns matrix^-1 right for right [N]."""
    lower, scale = factored
    half = jax.scipy.linalg.solve_triangular(lower, scale * right, lower=True)
    return scale * jax.scipy.linalg.solve_triangular(lower, half, lower=True, trans=1)


def inverse_of_lower(lower):
    """Returns the inverse of a lower triangular matrix [N, N], from blocks of twice the side.

        [ A  0 ]^-1   [  A^-1             0    ]
        [ B  C ]    = [ -C^-1 B A^-1      C^-1 ]

    Nearly all of it are products. On a CPU, XLA gives a triangular system of many columns to
    OpenBLAS, whose threads wait for each other by spinning: on busy cores that took a hundred times
    as long as the arithmetic.
    """
    size = len(lower)
    count = 1 << max(0, -(-size // _BLOCK) - 1).bit_length()
    padding = count * _BLOCK - size
    lower = jnp.pad(lower, (0, padding)) + jnp.diag(jnp.arange(size + padding) >= size)
    blocks = lower.reshape(count, _BLOCK, count, _BLOCK)[jnp.arange(count), :, jnp.arange(count)]
    units = jnp.broadcast_to(jnp.eye(_BLOCK, dtype=lower.dtype), blocks.shape)
    inverse = jax.scipy.linalg.solve_triangular(blocks, units, lower=True)
    while count > 1:
        count, side = count // 2, inverse.shape[-1]
        first, last = inverse[::2], inverse[1::2]
        below = lower.reshape(count, 2, side, count, 2, side)
        below = below[jnp.arange(count), 1, :, jnp.arange(count), 0]
        rows = [jnp.concatenate([first, jnp.zeros_like(first)], -1)]
        rows.append(jnp.concatenate([-last @ below @ first, last], -1))
        inverse = jnp.concatenate(rows, -2)
    return inverse[0, :size, :size]


def inverse(matrix):
    """Returns the inverse of a symmetric positive matrix [N, N]."""
    half = whiten(factor(matrix), jnp.eye(len(matrix), dtype=matrix.dtype))
    return half.T @ half


def eliminate(normal, gradient, num_kept):
    """Eliminates all unknowns after the first `num_kept` by Schur complement.

    Args:
        normal: [N, N] normal matrix with priors of what is eliminated.
        gradient: [N] right-hand side.
        num_kept: K.

    Returns:
        [K, K] matrix; [K] right-hand side; and [N - K, K], by how much what is eliminated falls
        with each of what is kept.
    """
    kept, rest = slice(None, num_kept), slice(num_kept, None)
    lower, scale = factor(normal[rest, rest])
    whitener = inverse_of_lower(lower) * scale
    half = whitener @ jnp.concatenate([normal[rest, kept], gradient[rest, None]], 1)
    matrix = normal[kept, kept] - half[:, :-1].T @ half[:, :-1]
    vector = gradient[kept] - half[:, :-1].T @ half[:, -1]
    return (matrix + matrix.T) / 2, vector, whitener.T @ half[:, :-1]


def effective_share(count, correlation):
    """Returns n_eff / n of `count` frames of one view whose errors correlate, 0 to 1."""
    return 1 / (1 + jnp.maximum(count - 1, 0) * correlation)


def observed(information, vector, shared):
    """Returns the Gaussian of the observed shape, of all frames' information and vector."""
    total = shared.information + information
    mean = solve(factor(total), shared.information @ shared.mean + vector)
    return Gaussian(mean, total)


def person(belief, shared):
    """Returns the Posterior of the person's shape, of the Gaussian of the observed shape."""
    half = whiten(factor(belief.information), shared.regression.T)
    covariance = shared.unseen + half.T @ half
    mean = shared.regression @ (belief.mean - shared.mean)
    return Posterior(mean, (covariance + covariance.T) / 2)


def log_odds_of_one_shape(first, second, shared):
    """Returns how much likelier two measurements are of one observed shape than of two, a log [].

    The Bayes factor (Kass and Raftery, 1995). With P and mu as above and b = v - L mu,

        log p(L, v) = (b' A^-1 b - log |A|) / 2 + what all have,          A = P^-1 + L,

    it is log p(both) + log p(nothing) - log p(first) - log p(second).

    Args:
        first, second: matrix L [K, K] and vector v [K] of each; zeros say nothing, and give 0.
        shared: SharedError.
    """

    def log_evidence(matrix, vector):
        about_mean = vector - matrix @ shared.mean
        lower, scale = factored = factor(shared.information + matrix)
        explained = about_mean @ solve(factored, about_mean)
        return 0.5 * explained + jnp.sum(jnp.log(scale) - jnp.log(jnp.diagonal(lower)))

    both = jax.tree.map(jnp.add, first, second)
    nothing = jax.tree.map(jnp.zeros_like, both)
    joint = log_evidence(*both) + log_evidence(*nothing)
    return joint - log_evidence(*first) - log_evidence(*second)
