"""What training minimises: one function per term, one number per sequence.

A prediction may be coarser than the target (side S < 128): the target is then strided.
"""

import jax
import jax.numpy as jnp

NAMES = ('masked_l1', 'index_mse', 'weighted_image', 'image_mse', 'rotated_views', 'voxels')
OF_LAST_ANSWER = ('index_mse', 'image_mse', 'rotated_views', 'voxels')  # Others: of every one.
VIEWS_WEIGHT = 1e-3  # Of the fit and of the drawn view beside the answer, which they do not move.
OF_IMAGE_MAPS = ('weighted_image', 'image_mse', 'rotated_views')  # They need data.frame_maps.


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
        return at_side(batch['position_map'], batch['mask'], side)
    if kind == 'points':
        points = batch['points']
        count = points.shape[1]
        if count < side * side:
            raise ValueError(f'{count} points are too few for a side of {side}')
        index = jnp.arange(side * side) * count // (side * side)
        target = points[:, index].reshape(-1, side, side, 3)
        return target, jnp.ones(target.shape[:-1], bool)
    raise ValueError(f"target {kind!r} is not one of ('position_map', 'points')")


def at_side(maps, mask, side):
    """Brings maps to the side of a prediction.

    A coarser side takes every n-th row and column. A finer one puts rows and columns halfway
    between (the last ones repeat), which count where all that they lie between do.

    Args:
        maps: [..., M, M, C].
        mask: [..., M, M] bool.
        side: S; it must divide M, or be M times a power of 2.

    Returns:
        maps [..., S, S, C] and mask [..., S, S] bool.
    """
    size = mask.shape[-1]
    if side > size:
        for axis in (-3, -2):
            maps, mask = _with_halfway(maps, axis), _all_halfway(mask, axis + 1)
        return at_side(maps, mask, side)
    if size % side:
        raise ValueError(f'a map of side {size} has no every-n-th rows of side {side}')
    stride = size // side
    return maps[..., ::stride, ::stride, :], mask[..., ::stride, ::stride]


def image_target(batch, side, *, of_first):
    """Returns where the points of each frame lie in it, at the side of the prediction.

    Args:
        batch: dict of image_map [B, T, M, M, 3] in units of the image's width and image_mask
            [B, T, M, M] bool.
        side: S, as of `at_side`.
        of_first: whether only the first frame counts: the frontal one of a pair.

    Returns:
        target [B, T, S, S, 3] and mask [B, T, S, S] bool; T is 1 if of_first.
    """
    last = 1 if of_first else None
    return at_side(batch['image_map'][:, :last], batch['image_mask'][:, :last], side)


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


def frame_l1(frame_map, position_map, batch):
    """Averages how far the predicted movement of each point by the expression is from the true one.

    The movement only: what a neutral face lacks is for the other terms to say.

    Args:
        frame_map, position_map: [B, T, S, S, 3] mm, of a Prediction.
        batch: dict of frame_map [B, T, M, M, 3] mm, frame_mask [B, T, M, M], position_map
            [B, M, M, 3] mm and mask [B, M, M]; if the prediction is of the last frame only, that
            one counts.

    Returns:
        [B] mm, over the pixels that are valid in both maps; 0 if there are none.
    """
    num_frames, side = frame_map.shape[1], frame_map.shape[-2]
    last = slice(-num_frames, None)
    of_frames, mask = at_side(batch['frame_map'][:, last], batch['frame_mask'][:, last], side)
    neutral, neutral_mask = at_side(batch['position_map'], batch['mask'], side)
    error = distance_mm(frame_map - position_map, of_frames - neutral[:, None])
    mask = mask & neutral_mask[:, None]
    return (error * mask).sum(axis=(1, 2, 3)) / jnp.maximum(mask.sum(axis=(1, 2, 3)), 1)


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


def weighted_image(predicted, target, mask, weights):
    """Averages the distance of image points, each with its weight: the loss of PRNet.

    Feng et al., 2018, eq. 3; a mean instead of their sum.

    Args:
        predicted: [B, T, S, S, 3] in units of the image's width.
        target: [B, T, S, S, 3].
        mask: [B, T, S, S] bool.
        weights: [S, S], how much a pixel counts.

    Returns:
        [B], in units of the image's width.
    """
    weights = weights * mask
    total = jnp.maximum(weights.sum(axis=(1, 2, 3)), 1e-6)
    return (distance_mm(predicted, target) * weights).sum(axis=(1, 2, 3)) / total


def image_mse(predicted, target, mask):
    """Averages the squared coordinate error of image points over the valid pixels.

    Args:
        predicted, target: [B, T, S, S, 3] in units of the image's width.
        mask: [B, T, S, S] bool.

    Returns:
        [B], in squared units of the image's width.
    """
    squared = jnp.square(predicted - target).mean(axis=-1) * mask
    return squared.sum(axis=(1, 2, 3)) / jnp.maximum(mask.sum(axis=(1, 2, 3)), 1)


def rotated_views(views, image_map, image_mask, weights):
    """Averages what the parts of models/rotate_render.py are taught by, besides its answer.

    Args:
        views: of a Prediction: fitted [B, T, S, S, 3] in units of the image's width, drawn and
            true [B, 1, H, W, 3] in [0, 1].
        image_map, image_mask: as of `image_target`, for all T frames.
        weights: [S, S], how much a pixel counts.

    Returns:
        [B]: the mean distance of the fitted faces' points plus the mean difference of the colours.
    """
    fit = weighted_image(views['fitted'], image_map, image_mask, weights)
    return fit + jnp.abs(views['drawn'] - views['true']).mean(axis=(1, 2, 3, 4))


def voxel_cross_entropy(logits, inside):
    """Averages the cross-entropy of cells that are inside the face or not.

    Choy et al., 2016, section 4; a softmax over two classes is a sigmoid of their difference.

    Args:
        logits: [B, T, N, N, N], log-odds of being inside.
        inside: [B, N, N, N] bool, the same for every frame.

    Returns:
        [B], in nats.
    """
    signed = jnp.where(inside[:, None], -logits, logits)
    return jax.nn.softplus(signed).mean(axis=(1, 2, 3, 4))


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


def error_and_variance(predicted, log_variance, target, mask):
    """Averages the squared error of a coordinate, and the variance that is stated for it.

    Args: as of `gaussian_nll`.

    Returns:
        [B] and [B], mm^2. Over many people they are equal where the network is calibrated.
    """
    mean_square = jnp.mean(jnp.square(predicted - target[:, None]), axis=-1)
    return _masked_mean(mean_square, mask), _masked_mean(jnp.exp(log_variance), mask)


def _masked_mean(values, mask):
    """Averages values [B, T, S, S] over T and the true pixels of mask [B, S, S]; [B]."""
    mask = mask[:, None].astype(values.dtype)
    count = jnp.maximum(mask.sum(axis=(1, 2, 3)) * values.shape[1], 1)
    return jnp.sum(values * mask, axis=(1, 2, 3)) / count


def _with_halfway(maps, axis):
    """Doubles an axis: after every entry comes the mean of it and the next."""
    following = jnp.concatenate([_cut(maps, axis, 1, None), _cut(maps, axis, -1, None)], axis=axis)
    return _interleave(maps, (maps + following) / 2, axis)


def _all_halfway(mask, axis):
    """Doubles an axis: after every entry comes whether it and the next are true."""
    following = jnp.concatenate([_cut(mask, axis, 1, None), _cut(mask, axis, -1, None)], axis=axis)
    return _interleave(mask, mask & following, axis)


def _cut(array, axis, start, stop):
    axis %= array.ndim
    return array[(slice(None),) * axis + (slice(start, stop),)]


def _interleave(a, b, axis):
    axis %= a.ndim
    shape = (*a.shape[:axis], 2 * a.shape[axis], *a.shape[axis + 1 :])
    return jnp.stack([a, b], axis=axis + 1).reshape(shape)
