"""What the correspondence network is trained to: likelihoods of places, seen points, faces."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

HIDDEN_WEIGHT = (
    0.2  # Of a point that is not seen, in the first answer; the corrector leaves it out.
)
DISTANCE_WEIGHT = 0.05  # Of the distance in units of 1 % of the crop, beside the likelihood.
_ROBUST = 3.0  # Standard deviations beyond which an error counts linearly.
_CORRECTED = 128  # Points of each crop that the corrector is trained at, a step.
_START_UNITS = 2.5  # Largest standard deviation of where the corrector begins, % of the crop.


def point_losses(answer, places):
    """Returns the negative log likelihood and the distance of each point.

    Args:
        answer: Correspondence of [B, N] points.
        places: [B, N, 2] true ones, crop sides.

    Returns:
        nll [B, N], up to a constant, of a distribution with linear tails, and distance [B, N] in %
        of the crop's side.
    """
    error = places - answer.places
    # Written out: products of many 2 x 2 matrices are slow on a CPU.
    factor, (x, y) = answer.factor, (error[..., 0], error[..., 1])
    squared = jnp.square(factor[..., 0, 0] * x) + jnp.square(
        factor[..., 1, 0] * x + factor[..., 1, 1] * y
    )
    root = jnp.sqrt(squared + 1e-9)
    penalty = jnp.where(root < _ROBUST, 0.5 * squared, _ROBUST * root - 0.5 * _ROBUST**2)
    diagonal = answer.factor[..., 0, 0] * answer.factor[..., 1, 1] * 1e-4
    distance = 100 * jnp.sqrt(jnp.square(x) + jnp.square(y) + 1e-9)
    return penalty - jnp.log(diagonal), distance


def losses(model, variables, batch):
    """Returns the loss and its named terms, each a mean over the batch.

    Args:
        model: CorrespondenceNetwork.
        variables: its variables.
        batch: dict of `pictures.make_batch` and `draw_starts`, frames as float32 in [0, 1].
    """
    is_face, seen = batch['is_face'], batch['seen']
    local, first = model.apply(variables, batch['frames'], method='look')
    weight = is_face[:, None] * jnp.where(seen > 0, 1.0, HIDDEN_WEIGHT)
    nll, distance = point_losses(first, batch['places'])
    chosen = batch['chosen']
    begin = batch['places'] + batch['from_answer'] * (first.places - batch['places'])
    start = jnp.take_along_axis(jax.lax.stop_gradient(begin), chosen[..., None], 1)
    start = start + batch['offset']
    corrected = model.apply(variables, local, start, chosen, method='correct')
    take = jax.vmap(lambda values, index: values[index])
    true_places, true_seen = take(batch['places'], chosen), take(seen, chosen)
    local_weight = is_face[:, None] * true_seen
    local_nll, local_distance = point_losses(corrected, true_places)
    face_rows = jnp.broadcast_to(is_face[:, None], seen.shape)
    cross_entropy = optax.sigmoid_binary_cross_entropy
    terms = {
        'nll': _mean(nll, weight),
        'distance': _mean(distance, weight),
        'local_nll': _mean(local_nll, local_weight),
        'local_distance': _mean(local_distance, local_weight),
        'seen': _mean(cross_entropy(first.seen, seen), face_rows),
        'local_seen': _mean(cross_entropy(corrected.seen, true_seen), take(face_rows, chosen)),
        'face': jnp.mean(cross_entropy(first.face, is_face)),
    }
    loss = terms['nll'] + terms['local_nll'] + terms['seen'] + terms['local_seen'] + terms['face']
    loss += DISTANCE_WEIGHT * (terms['distance'] + terms['local_distance'])
    return loss, terms


def draw_starts(rng, batch_size, layouts):
    """Draws, on the host, where the corrector begins and for which points.

    On the device XLA draws the numbers again for every feature that is read at them.

    Args:
        rng: numpy Generator.
        batch_size: B.
        layouts: [L, P, 2] principal layouts.

    Returns:
        dict of chosen [B, N] int32 numbers of points; from_answer [B, 1, 1]: the crop begins at the
        network's first answer, else at the truth; offset [B, N, 2] crop sides, how far off.
    """
    chosen = rng.integers(0, layouts.shape[1], (batch_size, _CORRECTED)).astype(np.int32)
    from_answer = rng.random((batch_size, 1, 1)) < 0.6
    # The first layouts are shift, size and turn of the whole: those are found well before.
    scale = 0.6 * np.minimum(1.0, np.arange(len(layouts)) / 12.0 + 0.08)
    weights = rng.standard_normal((batch_size, len(layouts))) * scale
    moved = np.tensordot(weights, layouts, 1)
    moved = np.take_along_axis(moved, chosen[..., None], 1) * ~from_answer
    size = 0.01 * _START_UNITS * rng.random((batch_size, 1, 1))
    noise = size * rng.standard_normal((batch_size, _CORRECTED, 2))
    shift = 0.01 * rng.standard_normal((batch_size, 1, 2))
    return {
        'chosen': chosen,
        'from_answer': from_answer.astype(np.float32),
        'offset': (moved + noise + shift).astype(np.float32),
    }


def _mean(values, weight):
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1.0)
