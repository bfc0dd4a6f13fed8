"""What the correspondence network is trained to: likelihoods of places, seen points, faces."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

HIDDEN_WEIGHT = 0.2  # Weight of a hidden point in the first answer; the corrector leaves it out.
LAYOUT_SOFT = 0.1  # Standard deviations under which such an error counts by its square.
LAYOUT_SIZE = 0.002  # Crop sides: layouts that move points by less than this count less.
_ROBUST = 3.0  # Standard deviations beyond which an error counts linearly.
_CORRECTED = 128  # Points of each crop that the corrector is trained at, a step.
# Where the corrector begins: at the first answer, at that moved, or at the truth moved (shares), as
# when a fitted face says where to look again. Moves are mixtures of layouts of this deviation.
_STARTS = (0.5, 0.2, 0.3)
_MOVED = 0.5
_START_NOISE = 0.004  # Crop sides.


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


def layout_loss(answer, places, layouts):
    """Returns how far off the coefficients of the principal layouts are, [B], a weighted mean.

    Each coefficient counts in units of its standard deviation among crops. So faces and
    expressions, which move points little, weigh nearly as much as poses, which move all of them.

    Args:
        answer: Correspondence of [B, P] points.
        places: [B, P, 2] true ones, crop sides.
        layouts: [L, P, 2] orthogonal, each scaled to its standard deviation.
    """
    squared_norms = jnp.sum(jnp.square(layouts), (1, 2)) + 1e-12
    size = jnp.sqrt(squared_norms / layouts.shape[1])
    weights = size / (size + LAYOUT_SIZE)
    off = jnp.einsum('bpd,lpd->bl', answer.places - places, layouts) / squared_norms
    soft = jnp.sqrt(jnp.square(off) + LAYOUT_SOFT**2) - LAYOUT_SOFT
    return soft @ (weights / jnp.sum(weights))


def losses(model, variables, batch, weights):
    """Returns the loss and its named terms, each a mean over the batch.

    Args:
        model: CorrespondenceNetwork.
        variables: its variables.
        batch: dict of `pictures.make_batch` and `draw_starts`, frames as float32 in [0, 1].
        weights: train.loss_weights of the config: how much each term counts.
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
        'layout': _mean(
            layout_loss(first, batch['places'], variables['constants']['layouts']), is_face
        ),
        'seen': _mean(cross_entropy(first.seen, seen), face_rows),
        'local_seen': _mean(cross_entropy(corrected.seen, true_seen), take(face_rows, chosen)),
        'face': jnp.mean(cross_entropy(first.face, is_face)),
    }
    return sum(weights[name] * term for name, term in terms.items()), terms


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
    kind = rng.choice(len(_STARTS), batch_size, p=_STARTS)[:, None, None]
    # The first layouts are shift, size and turn of the whole: those are found well before.
    scale = _MOVED * np.minimum(1.0, np.arange(len(layouts)) / 12.0 + 0.08)
    weights = rng.standard_normal((batch_size, len(layouts))) * scale
    moved = np.tensordot(weights, layouts, 1)
    moved = np.take_along_axis(moved, chosen[..., None], 1)
    noise = _START_NOISE * rng.standard_normal((batch_size, _CORRECTED, 2))
    shift = 0.01 * rng.standard_normal((batch_size, 1, 2))
    offset = np.choose(kind, [0 * moved, 0.5 * moved + noise, moved + noise + shift])
    return {
        'chosen': chosen,
        'from_answer': (kind < 2).astype(np.float32),
        'offset': offset.astype(np.float32),
    }


def _mean(values, weight):
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1.0)
