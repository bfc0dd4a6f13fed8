import functools

import numpy as np

from seqface_jax.models.layers.oriented_gradients import OrientedGradients
from tests.helpers.compiling import quick_jit


def histograms(frames, **fields):
    return np.asarray(_compiled(**fields)(frames))


@functools.cache
def _compiled(**fields):
    layer = OrientedGradients(**fields)
    return quick_jit(lambda frames: layer.apply({}, frames, train=False))


def stripes(angle_rad, size=32):
    """Returns [1, size, size, 3] whose brightness varies along the direction at that angle."""
    y, x = np.mgrid[:size, :size]
    wave = 0.5 + 0.3 * np.sin(0.6 * (np.cos(angle_rad) * x + np.sin(angle_rad) * y))
    return np.float32(np.repeat(wave[None, :, :, None], 3, axis=-1))


def test_the_bin_of_a_pattern_is_its_direction():
    for k in range(8):
        cells = histograms(stripes(k * np.pi / 8))[0, 2:-2, 2:-2]
        assert (cells.argmax(axis=-1) == k).all()


def test_light_and_colour_do_not_matter():
    frames = np.random.default_rng(0).uniform(0.2, 0.8, (2, 32, 32, 3)).astype(np.float32)
    gray = np.broadcast_to(frames.mean(axis=-1, keepdims=True), frames.shape)
    brighter = 0.8 * gray + 0.15
    np.testing.assert_allclose(histograms(frames), histograms(gray), rtol=1e-4)
    np.testing.assert_allclose(histograms(gray), histograms(brighter), rtol=0.05)


def test_a_flat_frame_is_finite_and_has_no_direction():
    cells = histograms(np.full((1, 16, 16, 3), 0.4, np.float32))
    assert cells.shape == (1, 4, 4, 8)
    assert np.abs(cells).max() < 1e-2


def test_the_size_follows_cells_and_directions():
    frames = np.zeros((3, 64, 64, 3), np.float32)
    assert histograms(frames, features=6, stride=8).shape == (3, 8, 8, 6)
