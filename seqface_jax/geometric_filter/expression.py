"""The correction of a frame's expression, and its blendshape weights.

The filter draws an expression towards the mean expression, and takes some of it for shape. How much
it does so is learnt from made-up people, whose expressions are known: the expected expression is
linear in what the filter says of it and in how far the shape of the frame alone lies from that of
the person (`corrected`).

The filter's expression is a displacement d of the P points; blendshapes b_s are displacements
with weights from 0 to 1. The weights minimise

    |sum_s w_s b_s - d|^2 / 2 + ridge mean_s |b_s|^2 |w|^2 / 2,        0 <= w <= 1,

by accelerated projected gradient steps (Beck and Teboulle, 2009, FISTA) in a fixed number, each
with the inverse of a bound of the largest curvature (the largest row sum) as its length.
"""

import functools

import jax
import jax.numpy as jnp

_RIDGE = 1e-3


@functools.partial(jax.jit, static_argnames='num_steps')
def blendshape_weights(displacement, blendshapes, num_steps=200):
    """Finds the weights of blendshapes that best make a displacement.

    Args:
        displacement: [P, 3] mm from the neutral points, as `expression_displacement`.
        blendshapes: [S, P, 3] mm at weight 1; zero where the points do not show a blendshape.
        num_steps: of projected gradient.

    Returns:
        [S] in [0, 1].
    """
    with jax.default_matmul_precision('highest'):
        flat = blendshapes.reshape(len(blendshapes), -1)
        normal = flat @ flat.T
        ridge = _RIDGE * jnp.mean(jnp.diagonal(normal)) + 1e-9
        normal = normal + ridge * jnp.eye(len(flat))
        target = flat @ displacement.reshape(-1)
        curvature = jnp.max(jnp.sum(jnp.abs(normal), 1))

        def step(carry, _):
            weights, ahead, momentum = carry
            moved = jnp.clip(ahead - (normal @ ahead - target) / curvature, 0, 1)
            following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
            ahead = moved + (momentum - 1) / following * (moved - weights)
            return (moved, ahead, following), None

        zero = jnp.zeros(len(flat))
        (weights, _, _), _ = jax.lax.scan(step, (zero, zero, jnp.ones(())), length=num_steps)
        return weights


def corrected(coefficients, shape_off, correction):
    """Returns the expected expression of a frame, [E] coefficients.

    Args:
        coefficients: [E] of the filter.
        shape_off: [K], the shape that the frame alone shows less that of the person.
        correction: [E, E + K + 1] what is added, linear in both, and a constant.
    """
    read = jnp.concatenate([coefficients, shape_off, jnp.ones(1)])
    return coefficients + correction @ read


@jax.jit
def expression_displacement(coefficients, expression_mean, expressions):
    """Computes the displacement [P, 3] mm of coefficients [E] of expressions [E, P, 3] mm."""
    with jax.default_matmul_precision('highest'):
        return expression_mean + jnp.tensordot(coefficients, expressions, 1)


def by_name(names, weights):
    """Returns a dict of blendshape names to weights as floats."""
    return {name: float(weight) for name, weight in zip(names, weights, strict=True)}
