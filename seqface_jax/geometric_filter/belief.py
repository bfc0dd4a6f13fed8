"""The filter's state over frames: constant in size, free of order, mergeable.

Each frame is an item of information L_i, vector v_i and count n_i = 1, times its weight. The newest
frames are kept as items of their own; what is older is summed by view, one item per bin of yaw
and pitch. In reading, frames of one view share their errors and count less, and items that
contradict the rest count less:

    L = sum_i c_i share(n of its view) L_i,      v alike,      share(n) = n_eff / n  (information),
    c_i = min(1, cut / x_i)^2,      x_i = share(n_i) r_i' A^-1 r_i / (trace(A^-1 L_i) + 1),

where r_i = v_i - L_i m, and (m, A) is the belief by all items, found by fixed rounds from c = 1.
Without the 1, which is for items that say little, x_i has mean 1 where all show one person. So a
wrong frame is outvoted wherever it stands in the order, and two frames that contradict each other
both count little. A frame that leaves the newest ones is summed with the weight that it has then.

A frame is fitted as if there were no other, so that what it says does not depend on the frames
before it. What is known by all then moves its pose and expression (point_fit.at_shape).

A picture that was seen before says nothing new. The places of the last frames are kept,
shifted and scaled to zero mean and unit radius; a new frame at root mean square distance d from
the nearest of them counts 1 - exp(-(d / copy_tolerance)^2).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax.geometric_filter import information, point_fit, projection

NUM_YAW, NUM_PITCH = 7, 3
NUM_VIEWS = NUM_YAW * NUM_PITCH
VIEW_RAD = 0.44  # Width of a bin, 25 degrees.
NUM_RECENT = 8  # Frames kept as items of their own.
NUM_KEPT = 32  # Frames whose places are kept to know copies by.
_ROUNDS = 4  # Rounds in which the items are weighed against each other.


class Belief(NamedTuple):
    """What is known after some frames; items are G views and then M newest frames.

    Attributes:
        information: [G + M, K, K], vector: [G + M, K], count: [G + M].
        view: [G + M] the bin of each item; item g < G is bin g.
        agreement: [G + M] c, the weights of the items against each other.
        kept_places: [C, P, 2] normalised places; kept_weights: [C, P].
        kept_serial: [C] number of the frame, from 1; 0 where nothing is kept.
        next_slot: [] which of the M newest frames is the oldest; num_frames: [] frames given.
    """

    information: jax.Array
    vector: jax.Array
    count: jax.Array
    view: jax.Array
    agreement: jax.Array
    kept_places: jax.Array
    kept_weights: jax.Array
    kept_serial: jax.Array
    next_slot: jax.Array
    num_frames: jax.Array


def initial_state(num_shape, num_points):
    """Returns the Belief before the first frame, of K coefficients and P points."""
    num_items = NUM_VIEWS + NUM_RECENT
    # NumPy's arrays: JAX would compile a program for each of them.
    return Belief(
        information=np.zeros((num_items, num_shape, num_shape), np.float32),
        vector=np.zeros((num_items, num_shape), np.float32),
        count=np.zeros(num_items, np.float32),
        view=np.arange(num_items, dtype=np.int32) % NUM_VIEWS,
        agreement=np.ones(num_items, np.float32),
        kept_places=np.zeros((NUM_KEPT, num_points, 2), np.float32),
        kept_weights=np.zeros((NUM_KEPT, num_points), np.float32),
        kept_serial=np.zeros(NUM_KEPT, np.int32),
        next_slot=np.zeros((), np.int32),
        num_frames=np.zeros((), np.int32),
    )


@jax.jit
def update(state, model, shared, observation, settings):
    """Fits one frame and adds what it says.

    Args:
        state: Belief.
        model: face_basis.PointModel.
        shared: information.SharedError.
        observation: point_fit.PointObservation.
        settings: point_fit.FitSettings.

    Returns:
        Belief and point_fit.PointFit.
    """
    fit = fit_alone(model, shared, observation, settings)
    return add(state, model, shared, fit, settings)


@jax.jit
def add(state, model, shared, fit, settings):
    """Adds what a PointFit of `fit_alone` says.

    Returns:
        Belief, and the PointFit with pose and expression at the shape that is then known.
    """
    state = jax.tree.map(jnp.asarray, state)  # NumPy's, where nothing is compiled.
    with jax.default_matmul_precision('highest'):
        places, weights = _normalised(fit.observation)
        distance = _nearest_distance(state, places, weights)
        novelty = -jnp.expm1(-((distance / settings.copy_tolerance) ** 2))
        novelty = novelty * (jnp.sum(weights) > 0)
        num_frames = state.num_frames + 1
        kept = jnp.where(
            novelty > 0.5, jnp.argmin(state.kept_serial), NUM_KEPT
        )  # Out of range: none.
        state = state._replace(
            kept_places=state.kept_places.at[kept].set(places, mode='drop'),
            kept_weights=state.kept_weights.at[kept].set(weights, mode='drop'),
            kept_serial=state.kept_serial.at[kept].set(num_frames, mode='drop'),
            num_frames=num_frames,
        )
        state = _added(state, fit, novelty * fit.weight)
        state = state._replace(agreement=_agreement(state, shared, settings))
        shape = information.observed(*_summed(state, settings), shared).mean
        return state, point_fit.at_shape(model, fit, shape)


@jax.jit
def posterior(state, shared, settings):
    """Returns the information.Posterior of the person's shape."""
    with jax.default_matmul_precision('highest'):
        return information.person(information.observed(*_summed(state, settings), shared), shared)


def fit_alone(model, shared, observation, settings, look_again=None):
    """Fits one frame as if there were no other; see `update`.

    Args:
        model, shared, observation, settings: as of `update`.
        look_again: as of point_fit.fit_looking_again.

    Returns:
        point_fit.PointFit.
    """
    before = information.Gaussian(shared.mean, shared.information)
    return point_fit.fit_looking_again(model, before, observation, settings, look_again)


@jax.jit
def evidence(state, settings):
    """Returns what all frames say of the observed shape: information [K, K] and vector [K]."""
    with jax.default_matmul_precision('highest'):
        return _summed(state, settings)


@jax.jit
def observed(state, shared, settings):
    """Returns the information.Gaussian of the shape as the network draws it (PointFit.shape)."""
    with jax.default_matmul_precision('highest'):
        return information.observed(*_summed(state, settings), shared)


@jax.jit
def merge(first, second, shared, settings):
    """Adds two Beliefs that share no frame; the newest frames of both stay items of their own."""
    first, second = jax.tree.map(jnp.asarray, (first, second))  # As in `add`.
    agreement = jnp.concatenate([first.agreement[NUM_VIEWS:], second.agreement[NUM_VIEWS:]])
    count = jnp.concatenate([first.count[NUM_VIEWS:], second.count[NUM_VIEWS:]])
    view = jnp.concatenate([first.view[NUM_VIEWS:], second.view[NUM_VIEWS:]])
    age = jnp.concatenate(
        [(state.next_slot - 1 - jnp.arange(NUM_RECENT)) % NUM_RECENT for state in (first, second)]
    )
    order = jnp.argsort(jnp.where(count > 0, age, NUM_RECENT))
    kept, left = order[:NUM_RECENT][::-1], order[NUM_RECENT:]  # Oldest first: next_slot is 0.

    def merged(one, other):
        recent = jnp.concatenate([one[NUM_VIEWS:], other[NUM_VIEWS:]])
        weighted = agreement.reshape((-1,) + (1,) * (recent.ndim - 1)) * recent
        sums = (one[:NUM_VIEWS] + other[:NUM_VIEWS]).at[view[left]].add(weighted[left])
        return jnp.concatenate([sums, recent[kept]])

    serial = jnp.concatenate([first.kept_serial, second.kept_serial])
    newest = jnp.argsort(-serial)[:NUM_KEPT]
    state = Belief(
        information=merged(first.information, second.information),
        vector=merged(first.vector, second.vector),
        count=merged(first.count, second.count),
        view=jnp.concatenate([first.view[:NUM_VIEWS], view[kept]]),
        agreement=first.agreement,
        kept_places=jnp.concatenate([first.kept_places, second.kept_places])[newest],
        kept_weights=jnp.concatenate([first.kept_weights, second.kept_weights])[newest],
        kept_serial=serial[newest],
        next_slot=jnp.zeros((), jnp.int32),
        num_frames=first.num_frames + second.num_frames,
    )
    with jax.default_matmul_precision('highest'):
        return state._replace(agreement=_agreement(state, shared, settings))


@jax.jit
def log_odds_of_one_person(first, second, shared, settings):
    """Returns how much likelier two Beliefs' frames are of one person than of two, a log [].

    See information.log_odds_of_one_shape. Frames that both have seen count twice.
    """
    with jax.default_matmul_precision('highest'):
        said = (_summed(state, settings) for state in (first, second))
        return information.log_odds_of_one_shape(*said, shared)


def _summed(state, settings):
    """Returns matrix [K, K] and vector [K] of all items, weighed."""
    counts = jnp.zeros(NUM_VIEWS).at[state.view].add(state.agreement * state.count)
    share = information.effective_share(counts, settings.correlation)[state.view]
    share = share * state.agreement
    return jnp.tensordot(share, state.information, 1), share @ state.vector


def _agreement(state, shared, settings):
    """Returns the items' weights c [G + M]."""
    own_share = information.effective_share(state.count, settings.correlation)

    def weigh(agreement, _):
        matrix, vector = _summed(state._replace(agreement=agreement), settings)
        inverse = information.inverse(shared.information + matrix)
        mean = inverse @ (shared.information @ shared.mean + vector)
        residual = state.vector - state.information @ mean  # [G + M, K]
        misfit = jnp.sum(residual * (residual @ inverse), -1)
        expected = jnp.tensordot(state.information, inverse, 2)
        ratio = own_share * misfit / (expected + 1) / settings.shape_level
        return (settings.shape_cut / jnp.maximum(ratio, settings.shape_cut)) ** 2, None

    agreement, _ = jax.lax.scan(weigh, jnp.ones_like(own_share), length=_ROUNDS)
    return agreement


def _added(state, fit, share):
    """Puts a PointFit in the place of the oldest recent frame, which goes to its view's sum."""
    adds = share > 1e-3
    oldest = NUM_VIEWS + state.next_slot
    slot = jnp.where(adds, oldest, NUM_VIEWS + NUM_RECENT)  # Out of range: nothing is replaced.
    leaving = adds * state.agreement[oldest]

    def replaced(items, new):
        summed = items.at[state.view[oldest]].add(leaving * items[oldest])
        return summed.at[slot].set(share * new, mode='drop')

    # As the frame alone says: a PointFit may have been given to another state already.
    view = view_bin(*projection.angles_rad(fit.unknowns.camera.rotation))
    return state._replace(
        information=replaced(state.information, fit.information),
        vector=replaced(state.vector, fit.vector),
        count=replaced(state.count, 1.0),
        view=state.view.at[slot].set(view, mode='drop'),
        next_slot=(state.next_slot + adds) % NUM_RECENT,
    )


def view_bin(yaw_rad, pitch_rad):
    """Returns the index [] of a view, 0 to G - 1."""
    column = jnp.clip(jnp.round(yaw_rad / VIEW_RAD) + NUM_YAW // 2, 0, NUM_YAW - 1)
    row = jnp.clip(jnp.round(pitch_rad / VIEW_RAD) + NUM_PITCH // 2, 0, NUM_PITCH - 1)
    return (row * NUM_YAW + column).astype(jnp.int32)


def _normalised(observation):
    """Returns places [P, 2] of zero mean and unit radius, zero where unseen, and weights [P]."""
    weights = observation.weights
    total = jnp.sum(weights) + 1e-6
    seen = jnp.where(weights[:, None] > 0, observation.places, 0)
    centred = seen - weights @ seen / total
    radius = jnp.sqrt(weights @ jnp.sum(centred**2, -1) / total + 1e-12)
    return jnp.where(weights[:, None] > 0, centred / radius, 0), weights


def _nearest_distance(state, places, weights):
    """Returns the root mean square distance [] to the nearest kept frame, where both are seen."""
    both = jnp.minimum(state.kept_weights, weights)
    total = jnp.sum(both, -1)
    squared = jnp.sum((state.kept_places - places) ** 2, -1)
    mean_squared = jnp.sum(both * squared, -1) / (total + 1e-6)
    comparable = (state.kept_serial > 0) & (total > 0.5 * jnp.sum(weights))
    mean_squared = jnp.where(comparable, mean_squared, 1.0)
    return jnp.sqrt(jnp.min(mean_squared) + 1e-30)
