import numpy as np
import pytest

from seqface_jax.models import whitening
from seqface_jax.models.whitening import NOISE, whiten


@pytest.mark.parametrize('num_frames', [400, 5])
def test_each_direction_has_its_variance_over_that_and_the_noise(num_frames):
    rng = np.random.default_rng(0)
    features = 3 + rng.normal(size=(num_frames, 8)) @ rng.normal(size=(8, 8))
    mean, directions = whiten(features, 4)
    whitened = (features - mean) @ directions
    covariance = np.cov(whitened.T, bias=True)
    deviations = features - features.mean(axis=0)
    variances = np.linalg.svd(deviations)[1][:4] ** 2 / num_frames
    noise = NOISE * np.square(deviations).mean()
    np.testing.assert_allclose(covariance, np.diag(variances / (variances + noise)), atol=1e-4)


def test_directions_that_the_frames_do_not_span_are_zero():
    features = np.random.default_rng(1).normal(size=(3, 6))
    _, directions = whiten(features, 5)
    assert np.abs(directions[:, :2]).min() > 0
    np.testing.assert_array_equal(directions[:, 2:], 0)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('num_frames', [1, 3])
def test_frames_that_are_all_alike_have_no_direction(num_frames):
    features = np.full((num_frames, 6), 0.1)  # Whose mean of three is rounded.
    mean, directions = whiten(features, 2)
    np.testing.assert_allclose(mean, 0.1)
    np.testing.assert_array_equal(directions, np.zeros((6, 2)))


def test_the_directions_of_a_large_matrix_are_those_of_a_small_one(monkeypatch):
    rng = np.random.default_rng(2)
    spread = np.diag(0.95 ** np.arange(300))
    features = rng.normal(size=(400, 300)) @ spread @ np.linalg.qr(rng.normal(size=(300, 300)))[0]
    _, exact = whiten(features, 40)
    monkeypatch.setattr(whitening, 'EXACT_SIZE', 100)
    _, nearly = whiten(features, 40)
    assert not np.array_equal(exact, nearly)
    signs = np.sign((exact * nearly).sum(axis=0))
    np.testing.assert_allclose(nearly * signs, exact, atol=1e-3 * np.abs(exact).max())
