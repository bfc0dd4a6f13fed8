"""Means over many batches, as sums and a count: every real example weighs the same."""

import math

import jax.numpy as jnp

from seqface_jax.errors import UserError


def of_batch(examples, weight):
    """Adds up each array [B] of a dict over the real examples, and counts these."""
    sums = {name: jnp.sum(values * weight) for name, values in examples.items()}
    return sums | {'count': jnp.sum(weight)}


def add(sums, more):
    """Adds on the host, in float64: the order, and so the result, is that of the batches.

    A name that sums begun by an older program lack stays out: its mean would be wrong.
    """
    names = sums or more
    return {name: sums.get(name, 0.0) + float(more[name]) for name in names}


def means(sums):
    """Returns the mean of each of the sums, a dict without the count."""
    return {name: total / sums['count'] for name, total in sums.items() if name != 'count'}


def require_finite(step, metrics):
    """Raises UserError where loss or grad_norm of a step's metrics is not finite."""
    if not (math.isfinite(metrics['loss']) and math.isfinite(metrics['grad_norm'])):
        raise UserError(
            f'the loss or its gradient is not finite at step {step}: lower '
            'optimizer.learning_rate, or set optimizer.clip_norm; the checkpoint before is kept'
        )
