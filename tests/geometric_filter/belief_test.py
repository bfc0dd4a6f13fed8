import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.geometric_filter import belief, face_basis, information, point_fit
from tests.helpers import compiling, simulated_points
from tests.helpers.compiling import quick_jit

SETTINGS = point_fit.FitSettings()
WORLD = simulated_points.World(shapes=16, points=100, vertices=200)
NOTHING_SHARED = information.make_shared_error(np.zeros(16), np.zeros((16, 16)))


def posterior_of(observations, shared=NOTHING_SHARED):
    """Returns the posterior of stacked observations."""
    return belief.posterior(state_of(observations, shared), shared, SETTINGS)


def state_of(observations, shared=NOTHING_SHARED):
    """Returns the state after stacked observations of any number, by one compiled scan of 16."""
    state, count = WORLD.initial_state(), len(observations.places)
    for first in range(0, count, 16):
        sixteen = take(observations, np.arange(first, first + 16) % count)
        seen = first + np.arange(16)[:, None] < count
        sixteen = sixteen._replace(weights=np.where(seen, sixteen.weights, np.float32(0)))
        state = simulated_points.run(state, WORLD.model, shared, sixteen, SETTINGS)[0]
    return state


def distance_mm(first, second):
    """Returns the mean distance of two faces' vertices."""
    difference = np.asarray(first, np.float64) - np.asarray(second)
    return np.linalg.norm(np.tensordot(difference, WORLD.basis.basis, 1), axis=-1).mean()


def take(observations, index):
    """Returns some of stacked observations, without compiling anything."""
    return jax.tree.map(
        lambda field: jnp.asarray(np.asarray(field)[np.asarray(index)]), observations
    )


@pytest.fixture(scope='module')
def sixteen():
    """A person's coefficients and 16 frames."""
    rng = np.random.default_rng(1)
    shape = WORLD.person(rng)
    return shape, WORLD.frames(rng, shape, 16)


def test_the_face_gets_nearer_to_the_truth_with_frames(sixteen):
    shape, frames = sixteen
    errors = [
        distance_mm(posterior_of(take(frames, range(count))).mean, shape) for count in (1, 4, 16)
    ]
    assert errors[0] < 0.7 * distance_mm(shape, 0 * shape)
    assert errors[1] < 0.8 * errors[0]
    assert errors[2] < 0.9 * errors[1]


def test_the_order_of_16_frames_moves_the_face_by_less_than_a_thousandth_of_a_mm(sixteen):
    _, frames = sixteen
    forwards = posterior_of(frames).mean
    backwards = np.arange(16)[::-1]
    for order in (backwards, *(np.random.default_rng(seed).permutation(16) for seed in range(4))):
        assert distance_mm(posterior_of(take(frames, order)).mean, forwards) < 0.001


def test_one_frame_works(sixteen):
    _, frames = sixteen
    state, fit = belief.update(
        WORLD.initial_state(), WORLD.model, NOTHING_SHARED, take(frames, 0), SETTINGS
    )
    direct = belief.posterior(state, NOTHING_SHARED, SETTINGS).mean
    np.testing.assert_allclose(direct, posterior_of(take(frames, [0])).mean, atol=1e-3)
    assert float(fit.weight) == 1


def test_halves_merged_equal_the_whole_to_a_twentieth_of_a_mm(sixteen):
    _, frames = sixteen
    blank = frames._replace(weights=frames.weights.at[8:].set(0))
    first = state_of(blank)
    rolled = take(frames, np.roll(np.arange(16), 8))
    second = state_of(rolled._replace(weights=rolled.weights.at[8:].set(0)))
    merged = belief.merge(first, second, NOTHING_SHARED, SETTINGS)
    face = belief.posterior(merged, NOTHING_SHARED, SETTINGS).mean
    assert distance_mm(face, posterior_of(frames).mean) < 0.05
    np.testing.assert_allclose(merged.count.sum(), 16, atol=0.1)


def test_merging_with_the_empty_state_changes_nothing(sixteen):
    _, frames = sixteen
    state = state_of(frames)
    merged = belief.merge(state, WORLD.initial_state(), NOTHING_SHARED, SETTINGS)
    before, after = (belief.posterior(s, NOTHING_SHARED, SETTINGS) for s in (state, merged))
    np.testing.assert_allclose(after.mean, before.mean, atol=1e-3)
    np.testing.assert_allclose(after.covariance, before.covariance, atol=1e-4)


def test_a_frame_without_a_visible_point_returns_the_prior():
    frame = WORLD.frame(np.random.default_rng(0), np.zeros(16))
    frame = frame._replace(weights=jnp.zeros_like(frame.weights), places=frame.places * jnp.nan)
    state, fit = belief.update(WORLD.initial_state(), WORLD.model, NOTHING_SHARED, frame, SETTINGS)
    answer = belief.posterior(state, NOTHING_SHARED, SETTINGS)
    np.testing.assert_allclose(answer.mean, 0, atol=1e-6)
    np.testing.assert_allclose(answer.covariance, np.eye(16), atol=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fit))


def test_a_frame_seen_again_tells_nothing_new(sixteen):
    _, frames = sixteen
    once = posterior_of(take(frames, [0, 1]))
    again = posterior_of(take(frames, [0, 1, 0, 0, 1, 0, 1, 1, 0]))
    np.testing.assert_allclose(again.mean, once.mean, atol=1e-4)
    np.testing.assert_allclose(again.covariance, once.covariance, atol=1e-5)


def test_a_frame_seen_again_at_another_size_tells_nothing_new(sixteen):
    _, frames = sixteen
    pair = take(frames, [0, 0])
    pair = pair._replace(
        places=pair.places * jnp.array([1.0, 2.0])[:, None, None],
        precision=pair.precision * jnp.array([1.0, 0.25])[:, None, None, None],
    )
    once = posterior_of(take(frames, [0])).covariance
    np.testing.assert_allclose(posterior_of(pair).covariance, once, atol=1e-4)


def test_a_thousand_frames_leave_the_state_as_small_and_finite_and_the_band_positive():
    rng = np.random.default_rng(3)
    shape = WORLD.person(rng)
    few = WORLD.frames(rng, shape, 50)
    index = np.arange(1000) % 50
    frames = take(few, index)
    jitter = 3 * rng.normal(size=frames.places.shape)
    state = state_of(frames._replace(places=frames.places + jitter))
    empty = WORLD.initial_state()
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, empty)
    answer = belief.posterior(state, NOTHING_SHARED, SETTINGS)
    assert np.linalg.eigvalsh(np.asarray(answer.covariance, np.float64)).min() > 0
    # What each frame's own linearisation leaves does not average out.
    assert distance_mm(answer.mean, shape) < 0.25


def test_many_frames_of_one_view_are_worth_two_where_their_errors_correlate_by_a_half():
    assert float(information.effective_share(jnp.float32(1000), 0.5) * 1000) == pytest.approx(
        2, abs=0.01
    )
    assert float(information.effective_share(jnp.float32(0.3), 0.5)) == 1


@pytest.mark.parametrize('place', [0, 3, 7])
@pytest.mark.parametrize('wrong', ['scrambled', 'another person'])
def test_one_wrong_frame_of_eight_moves_the_face_by_little(wrong, place):
    moved = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shape, other = WORLD.person(rng), WORLD.person(rng)
        right = [WORLD.frame(rng, shape) for _ in range(8)]
        if wrong == 'scrambled':
            places = right[place].places[rng.permutation(WORLD.num_points)]
            frame = right[place]._replace(places=places)
        else:
            frame = WORLD.frame(rng, other)
        frames = right[:place] + [frame] + right[place + 1 :]
        without = posterior_of(simulated_points.stack(right[:place] + right[place + 1 :]))
        moved.append(distance_mm(posterior_of(simulated_points.stack(frames)).mean, without.mean))
    assert np.mean(moved) < 0.1  # mm; two people differ by about 3.5 mm.


def test_64_frames_of_wrongly_stated_focal_lengths_keep_the_size_within_one_percent():
    rng = np.random.default_rng(5)
    shape = WORLD.person(rng)
    factors = np.exp(rng.normal(0.4, 0.3, 64))
    frames = [WORLD.frame(rng, shape, focal_factor=factor) for factor in factors]
    state = state_of(simulated_points.stack(frames))
    answer = belief.posterior(state, NOTHING_SHARED, SETTINGS)

    def size(coefficients):
        vertices = np.asarray(face_basis.face_vertices(WORLD.basis, coefficients))
        return np.sqrt(np.mean(np.sum((vertices - vertices.mean(0)) ** 2, -1)))

    assert size(answer.mean) == pytest.approx(size(0 * shape), rel=0.01)
    assert distance_mm(answer.mean, shape) < 0.3


def test_the_band_covers_the_truth():
    ratios = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        shape = WORLD.person(rng)
        answer = posterior_of(WORLD.frames(rng, shape, 4))
        off = shape - np.asarray(answer.mean, np.float64)
        ratios.append(off @ np.linalg.solve(np.asarray(answer.covariance, np.float64), off))
    # 12 x 16 squared standard normals have mean 1 and standard deviation 0.1; views that happen
    # to be alike are counted less than they are worth here, where errors are independent.
    assert 0.5 < np.sum(ratios) / (12 * 16) < 1.3


def test_a_large_shared_error_leaves_the_mean_face(sixteen):
    _, frames = sixteen
    unknown = information.make_shared_error(np.zeros(16), 1e5 * np.eye(16))
    answer = posterior_of(frames, unknown)
    np.testing.assert_allclose(answer.mean, 0, atol=1e-2)
    np.testing.assert_allclose(answer.covariance, np.eye(16), atol=1e-3)


def test_a_shared_error_is_taken_off_and_is_left_in_the_band(sixteen):
    shape, frames = sixteen
    offset = np.zeros(16)
    offset[2] = 1.5
    shared = information.make_shared_error(offset, 0.25 * np.eye(16))
    plain, answer = posterior_of(frames), posterior_of(frames, shared)
    np.testing.assert_allclose(answer.mean, (plain.mean - offset) / 1.25, atol=0.1)
    assert np.diagonal(answer.covariance).min() > 0.2  # I - (I + S)^-1.


def floats_of(state):
    """Returns the fields of a Belief that have gradients, a dict."""
    return {name: value for name, value in state._asdict().items() if value.dtype == np.float32}


@quick_jit
@jax.vmap
def update_and_pull_back(state, observation, gradient):
    """Maps `belief.update` over a batch: Beliefs, and gradients of the Beliefs before and frames.

    `gradient` is of `floats_of` the Belief after the frame. One frame after the other, so that
    only one is compiled.
    """

    def update(floats, observation):
        after, _ = belief.update(
            state._replace(**floats), WORLD.model, NOTHING_SHARED, observation, SETTINGS
        )
        return floats_of(after), after

    _, pull_back, after = jax.vjp(update, floats_of(state), observation, has_aux=True)
    return after, pull_back(gradient)


@pytest.fixture(scope='module')
def batch(sixteen):
    """Four pairs of frames mapped as a batch: Beliefs, and gradients of an error and a variance.

    The first pair is seen, the second in its first frame alone, the third not at all; the fourth
    is another, and seen. The gradients are those of the first frames, then of the second ones.
    """
    shape, frames = sixteen
    pairs = take(frames, [[0, 0, 0, 2], [1, 1, 1, 3]])
    weights = pairs.weights.at[1, 1].set(0).at[:, 2].set(0)
    first, second = (take(pairs._replace(weights=weights), place) for place in (0, 1))

    def error(floats, state):
        answer = belief.posterior(state._replace(**floats), NOTHING_SHARED, SETTINGS)
        return jnp.sum((answer.mean - shape) ** 2) + jnp.trace(answer.covariance)

    before = jax.tree.map(lambda field: np.stack([field] * 4), WORLD.initial_state())
    none = jax.tree.map(np.zeros_like, floats_of(before))
    between, _ = update_and_pull_back(before, first, none)
    after, _ = update_and_pull_back(between, second, none)
    gradient = quick_jit(jax.vmap(jax.grad(error)))(floats_of(after), after)
    _, (gradient, of_second) = update_and_pull_back(between, second, gradient)
    _, (_, of_first) = update_and_pull_back(before, first, gradient)
    return after, (of_first, of_second)


def test_gradients_through_two_frames_are_finite_also_where_nothing_is_seen(batch):
    _, gradients = batch
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert all(np.abs(gradient.places[0]).max() > 0 for gradient in gradients)


def test_frames_of_two_people_map_over_a_batch_as_alone(sixteen, batch):
    _, frames = sixteen
    alone = posterior_of(take(frames, [2, 3])).mean
    mapped = belief.posterior(take(batch[0], 3), NOTHING_SHARED, SETTINGS).mean
    np.testing.assert_allclose(mapped, alone, atol=2e-3)


@pytest.mark.slow
def test_compiled_equals_eager(sixteen):
    _, frames = sixteen
    frame = take(frames, 0)
    few_steps = SETTINGS.replace(num_steps=2)  # Each step runs the same operations.
    arguments = (WORLD.initial_state(), WORLD.model, NOTHING_SHARED, frame, few_steps)
    with compiling.as_shipped():
        compiled, _ = belief.update(*arguments)
    with jax.disable_jit():
        eager, _ = belief.update(*arguments)
    scale = np.abs(compiled.information).max()
    np.testing.assert_allclose(eager.information, compiled.information, atol=1e-3 * scale)
    np.testing.assert_allclose(eager.count, compiled.count, atol=1e-4)


def _log_density(value, covariance):
    """Returns the log density of a normal vector of zero mean, but for the constant."""
    _, log_determinant = np.linalg.slogdet(covariance)
    return -0.5 * (value @ np.linalg.solve(covariance, value) + log_determinant)


def test_the_odds_of_one_person_are_those_of_two_measurements_of_a_normal_shape():
    rng = np.random.default_rng(7)
    spread, mean, empty = 0.3 * np.eye(16) + 0.1, rng.normal(size=16), WORLD.initial_state()
    shared = information.make_shared_error(mean, spread)
    states, errors, measured = [], [], []
    for _ in range(2):
        root = rng.normal(size=(16, 40))
        matrix, value = root @ root.T / 8, mean + rng.normal(size=16)
        measured.append(value - mean)
        errors.append(np.linalg.inv(matrix))
        states.append(
            empty._replace(
                information=np.float32(np.stack([matrix, *np.zeros((28, 16, 16))])),
                vector=np.float32(np.stack([matrix @ value, *np.zeros((28, 16))])),
                count=np.float32(np.eye(29)[0]),
            )
        )
    before = np.eye(16) + spread  # Of the shape as the network draws it.
    both = np.block([[before + errors[0], before], [before, before + errors[1]]])
    expected = _log_density(np.concatenate(measured), both)
    expected -= sum(_log_density(m, before + e) for m, e in zip(measured, errors, strict=True))
    odds = [
        float(belief.log_odds_of_one_person(one, other, shared, SETTINGS))
        for one, other in (states, states[::-1])
    ]
    np.testing.assert_allclose(odds, expected, rtol=1e-3)
    assert belief.log_odds_of_one_person(states[0], empty, shared, SETTINGS) == pytest.approx(
        0, abs=1e-4
    )


def test_frames_of_one_person_are_known_from_those_of_two(sixteen):
    _, frames = sixteen
    rng = np.random.default_rng(2)
    other = WORLD.frames(rng, WORLD.person(rng), 4)
    known = state_of(take(frames, range(4)))
    shared = NOTHING_SHARED, SETTINGS
    same = belief.log_odds_of_one_person(known, state_of(take(frames, range(4, 8))), *shared)
    assert same > 3
    assert belief.log_odds_of_one_person(known, state_of(other), *shared) < -3
