"""What training minimises: one function per term, one number per sequence.

A prediction may be coarser than the target (side S < 128): the target is then strided.
"""

import jax
import jax.numpy as jnp

NAMES = ('masked_l1', 'index_mse')


def ordered_target(batch, kind, side):
    """Returns the target at the side of the prediction.

    Args:
        batch: dict of position_map [B, M, M, 3] mm, mask [B, M, M] bool, points [B, N, 3] mm.
        kind: 'position_map', every M / S-th row and column; 'points', S * S points evenly spaced
            in their order, laid out row by row, all of them valid.
        side: S of the prediction; M must be a multiple, and N at least S * S.

    Returns:
        target [B, S, S, 3] mm and mask [B, S, S] bool.
    """
    if kind == 'position_map':
        size = batch['position_map'].shape[1]
        if size % side:
            raise ValueError(f'a map of side {size} has no every-n-th rows of side {side}')
        stride = size // side
        return batch['position_map'][:, ::stride, ::stride], batch['mask'][:, ::stride, ::stride]
    if kind == 'points':
        points = batch['points']
        count = points.shape[1]
        if count < side * side:
            raise ValueError(f'{count} points are too few for a side of {side}')
        index = jnp.arange(side * side) * count // (side * side)
        target = points[:, index].reshape(-1, side, side, 3)
        return target, jnp.ones(target.shape[:-1], bool)
    raise ValueError(f"target {kind!r} is not one of ('position_map', 'points')")


def distance_mm(predicted, target):
    """Returns the Euclidean distance of matched points, [...], from [..., 3] and [..., 3] mm.

    Its gradient is 0, not NaN, where they coincide.
    """
    squared = jnp.sum(jnp.square(predicted - target), axis=-1)
    apart = squared > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1)), 0)


def masked_l1(predicted, target, mask):
    """Averages the distance in mm over the valid pixels of every frame.

    The L1 norm over pixels of the Euclidean norm of each pixel's error, so that it is a mean
    distance and does not depend on the axes.

    Args:
        predicted: [B, T, S, S, 3] mm.
        target: [B, S, S, 3] mm, the same for every frame.
        mask: [B, S, S] bool.

    Returns:
        [B] mm.
    """
    return _masked_mean(distance_mm(predicted, target[:, None]), mask)


def index_mse(predicted, target, scale_mm):
    """Averages the squared coordinate error after the last frame, in units of `scale_mm`.

    The thesis's loss: mean squared error by index of clouds scaled to about [-1, 1].

    Args:
        predicted: [B, T, S, S, 3] mm.
        target: [B, S, S, 3] mm.
        scale_mm: [], the radius that the network's output range stands for.

    Returns:
        [B], no unit.
    """
    error = (predicted[:, -1] - target) / scale_mm
    return jnp.mean(jnp.square(error), axis=(1, 2, 3))


def gaussian_nll(predicted, log_variance, target, mask):
    """Averages the negative log-likelihood per coordinate of an isotropic Gaussian per pixel.

    The error is held fixed: the variance learns from it, and does not move the points.

    Args:
        predicted: [B, T, S, S, 3] mm.
        log_variance: [B, T, S, S], log of the variance of each coordinate in mm^2.
        target: [B, S, S, 3] mm.
        mask: [B, S, S] bool.

    Returns:
        [B], in nats without the constant log(2 pi) / 2.
    """
    error = jax.lax.stop_gradient(predicted) - target[:, None]
    mean_square = jnp.mean(jnp.square(error), axis=-1)
    nll = 0.5 * (mean_square * jnp.exp(-log_variance) + log_variance)
    return _masked_mean(nll, mask)


def _masked_mean(values, mask):
    """Averages values [B, T, S, S] over T and the true pixels of mask [B, S, S]; [B]."""
    mask = mask[:, None].astype(values.dtype)
    count = jnp.maximum(mask.sum(axis=(1, 2, 3)) * values.shape[1], 1)
    return jnp.sum(values * mask, axis=(1, 2, 3)) / count
