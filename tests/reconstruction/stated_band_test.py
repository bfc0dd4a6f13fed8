import numpy as np
import pytest

from seqface_jax.reconstruction import stated_band


def test_nine_of_ten_coordinates_of_true_points_lie_in_the_band():
    rng = np.random.default_rng(0)
    deviation = rng.uniform(0.5, 3, 20_000)  # One coordinate's; a distance has three of them.
    off = rng.normal(0, deviation[:, None], (20_000, 3))
    confidence = 1 / (1 + np.sqrt(3) * deviation)
    inside = np.abs(off) < stated_band.half_widths_mm(confidence)[:, None]
    assert inside.mean() == pytest.approx(0.9, abs=0.005)


def test_the_mean_is_of_the_middle_of_the_face():
    vertices = np.array([[0, 0, 100.0], [60, 0, 60], [0, -150, 0]])
    confidence = 1 / (1 + np.sqrt(3) * np.array([1.0, 3.0, 50.0]))
    assert stated_band.half_width_mm(vertices, confidence) == pytest.approx(2 * 1.645, rel=1e-3)
