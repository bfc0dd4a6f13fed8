import numpy as np

from seqface_jax.models.correspondence_network import Correspondence
from seqface_jax.training import point_losses
from tests.helpers.compiling import quick_jit


def _answer(places, factor):
    count = places.shape[1]
    return Correspondence(places, factor, np.zeros((1, count), np.float32), np.zeros(1, np.float32))


def test_the_likelihood_of_a_known_error_is_that_of_a_gaussian():
    # Errors of (3 %, 4 %) at a deviation of 2 % each: 0.5 (2.25 + 4) + 2 ln 2, distance 5 %.
    factor = np.broadcast_to(np.eye(2, dtype=np.float32) / 0.02, (1, 1, 2, 2))
    nll, distance = quick_jit(point_losses.point_losses)(
        _answer(np.zeros((1, 1, 2), np.float32), factor), np.float32([[[0.03, 0.04]]])
    )
    np.testing.assert_allclose(nll, 0.5 * 6.25 + 2 * np.log(2), rtol=1e-5)
    np.testing.assert_allclose(distance, 5.0, rtol=1e-4)


def test_a_wild_error_counts_linearly():
    factor = np.broadcast_to(np.eye(2, dtype=np.float32) / 0.01, (1, 2, 2, 2))
    places = np.float32([[[0.1, 0.0], [0.2, 0.0]]])  # 10 and 20 standard deviations.
    answer = _answer(np.zeros((1, 2, 2), np.float32), factor)
    nll, _ = quick_jit(point_losses.point_losses)(answer, places)
    np.testing.assert_allclose(nll[0, 1] - nll[0, 0], 3.0 * 10, rtol=1e-3)


def test_starts_are_drawn_alike_for_a_seed_and_lie_near_the_truth():
    layouts = 0.01 * np.ones((4, 9, 2))
    one, two = (point_losses.draw_starts(np.random.default_rng(5), 64, layouts) for _ in range(2))
    np.testing.assert_array_equal(one['offset'], two['offset'])
    assert one['chosen'].max() < 9
    offsets = np.abs(one['offset']).max((1, 2))
    from_answer = one['from_answer'][:, 0, 0] > 0
    assert 0.3 < (offsets == 0).mean() < 0.7  # As the first look ends.
    assert from_answer[offsets == 0].all()
    assert 0.005 < offsets[~from_answer].mean() < 0.05


def test_layouts_count_in_units_of_their_deviations():
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(18, 3)))[0].T.reshape(3, 9, 2)
    layouts = np.float32(directions * np.array([0.6, 0.06, 0.006])[:, None, None])
    loss, target = quick_jit(point_losses.layout_loss), np.zeros((1, 9, 2), np.float32)
    off = [float(loss(_answer(k[None], None), target, layouts)[0]) for k in layouts]
    assert off[0] > off[1] > off[2] > 0.4 * off[1]  # Each is one deviation off.
    np.testing.assert_allclose(sum(off), np.sqrt(1.01) - 0.1, rtol=1e-3)
