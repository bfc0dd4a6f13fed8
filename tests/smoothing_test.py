import numpy as np
import pytest

from seqface_jax import smoothing


def _shake(count, still_mm=0.0, noise_mm=0.5, vertices=40):
    """Returns [T, V, 3]: a point cloud that moves by still_mm a frame along x, with noise."""
    rng = np.random.default_rng(0)
    face = rng.normal(0, 50, (1, vertices, 3))
    steady = face + still_mm * np.arange(count)[:, None, None] * np.array([1.0, 0, 0])
    return steady, steady + rng.normal(0, noise_mm, (count, vertices, 3))


def _causal(faces):
    motion, smoothed = None, []
    for vertices in faces:
        motion = smoothing.causal_step(motion, vertices)
        smoothed.append(motion.vertices)
    return np.stack(smoothed)


def test_jitter_of_a_jump_by_3_4_mm_is_5_then_10_then_5():
    faces = np.zeros((5, 2, 3))
    faces[2] = [3, 4, 0]
    np.testing.assert_allclose(smoothing.jitter(faces), [5, 10, 5])


def test_steady_motion_has_no_jitter():
    steady, _ = _shake(6, still_mm=2)
    np.testing.assert_allclose(smoothing.jitter(steady), 0, atol=1e-12)


def test_offline_smoothing_leaves_steady_motion_alone():
    steady, _ = _shake(20, still_mm=2)
    np.testing.assert_allclose(smoothing.offline(steady), steady, atol=1e-8)


def test_offline_smoothing_is_the_minimum_that_it_says():
    values = np.random.default_rng(1).normal(size=(9, 2))
    second = np.diff(np.eye(9), n=2, axis=0)
    expected = np.linalg.solve(np.eye(9) + 3 * second.T @ second, values)
    np.testing.assert_allclose(smoothing.offline(values, strength=3), expected, atol=1e-12)


def test_a_wave_of_the_stated_length_is_halved():
    length = 2 * np.pi * 100**0.25
    wave = np.sin(2 * np.pi * np.arange(400) / length)[:, None]
    middle = slice(150, 250)
    halved = smoothing.offline(wave, strength=100)[middle]
    np.testing.assert_allclose(halved, wave[middle] / 2, atol=0.01)


@pytest.mark.parametrize('count', [0, 1, 2])
def test_too_few_frames_to_smooth_come_back(count):
    values = np.ones((count, 4, 3), np.float32)
    np.testing.assert_array_equal(smoothing.offline(values), values)


@pytest.mark.parametrize('smooth', [smoothing.offline, _causal])
def test_smoothing_a_still_face_takes_out_four_fifths_of_the_jitter(smooth):
    _, noisy = _shake(60)
    before, after = (smoothing.jitter(faces)[10:].mean() for faces in (noisy, smooth(noisy)))
    assert after < 0.2 * before


def test_the_causal_filter_does_not_trail_far_behind_a_moving_face():
    steady, noisy = _shake(60, still_mm=5)
    lag = (steady - _causal(noisy))[30:, :, 0].mean()
    assert 0 < lag < 5  # Less than one frame.


def test_the_causal_filter_keeps_a_constant():
    faces = np.full((5, 3, 3), 7.0)
    np.testing.assert_array_equal(_causal(faces), faces)
