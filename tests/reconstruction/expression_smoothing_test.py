import numpy as np
import pytest

from seqface_jax.reconstruction import expression_smoothing

_SECONDS = np.arange(90) / 30


def _video(noise=0.05):
    """Returns true weights [T, 2] of a slow smile and a blink, and the same with jitter."""
    smile = 0.5 - 0.5 * np.cos(2 * np.pi * _SECONDS / 3)
    blink = np.exp(-0.5 * ((_SECONDS - 1.5) / 0.06) ** 2)
    true = np.stack([smile, blink], 1)
    return true, true + noise * np.random.default_rng(0).standard_normal(true.shape)


def _stream(seconds, weights):
    state, smooth = None, []
    for when, own in zip(seconds, weights, strict=True):
        state = expression_smoothing.causal(state, when, own)
        smooth.append(state.weights)
    return np.array(smooth)


@pytest.mark.parametrize('smooth', [expression_smoothing.offline, _stream])
def test_jitter_falls_and_a_blink_stays(smooth):
    true, seen = _video()
    found = smooth(_SECONDS, seen)
    at_rest = np.r_[5:30, 60:85]
    jitter = [np.diff(own[at_rest, 1]).std() for own in (seen, found)]
    assert jitter[1] < 0.5 * jitter[0]
    assert found[:, 1].max() > 0.6
    assert np.abs(found - true).mean() < np.abs(seen - true).mean()


def test_offline_smoothing_has_no_lag_and_streaming_little():
    true, _ = _video()
    offline = expression_smoothing.offline(_SECONDS, true)
    assert offline[:, 1].argmax() == true[:, 1].argmax()
    assert 0 <= _stream(_SECONDS, true)[:, 1].argmax() - true[:, 1].argmax() <= 3


def test_what_is_constant_stays_and_photos_far_apart_do_not_mix():
    constant = np.full((7, 3), 0.4)
    np.testing.assert_allclose(expression_smoothing.offline(np.arange(7) / 30, constant), constant)
    loose = np.random.default_rng(1).random((7, 3))
    np.testing.assert_array_equal(expression_smoothing.offline(np.arange(7.0), loose), loose)


def test_frames_at_uneven_times_count_by_their_distance():
    seconds = np.array([0.0, 0.01, 1.0])
    found = expression_smoothing.offline(seconds, np.array([[0.0], [1.0], [5.0]]))
    assert 0.4 < found[0, 0] < 0.6 and found[2, 0] == 5.0
