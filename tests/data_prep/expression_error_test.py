import numpy as np
import pytest

from data_prep.package_files import expression_error


def _movement(seed=0, count=50):
    return np.random.default_rng(seed).standard_normal((count, 3))


def test_half_of_a_movement_is_half_found_and_what_is_across_it_does_not_count():
    true = np.zeros((10, 3))
    true[:5, 1] = -4.0
    across = np.zeros((10, 3))
    across[:, 0] = 3.0
    assert expression_error.movement_found(0.5 * true, true) == pytest.approx(0.5)
    assert expression_error.movement_found(true + across, true) == pytest.approx(1.0)
    assert expression_error.movement_found(-true, true) == pytest.approx(-1.0)


def test_the_strongest_quarter_is_taken_the_strongest_first():
    movements = np.stack([level * _movement() for level in (1, 5, 0, 3, 2, 4, 0.5, 0.1)])
    assert expression_error.strongest(movements).tolist() == [1, 5]
    assert expression_error.strongest(movements[:1]).tolist() == [0]


def test_a_face_without_its_expression_is_off_by_the_movement():
    neutral = 30 * _movement(1)
    true = np.zeros((50, 3))
    true[:2, 0] = (8.0, -8.0)  # Two vertices move apart: no rigid motion undoes that.
    rows = [own[None] for own in (neutral, true, neutral, true)]
    near = np.ones(50, bool)
    found = expression_error.measure(*rows, near, neutral + 1.0)
    assert found.found == pytest.approx(1.0)
    assert found.frame_mm == pytest.approx(0.0, abs=1e-6)
    assert 0.25 < found.neutral_mm < 0.6  # 2 x 8 mm over 50 vertices, before the alignment.
    assert found.mean_mm == pytest.approx(found.neutral_mm)  # It is the same face, shifted.
    assert found.moved_mm == pytest.approx(np.sqrt(2 * 64 / 50))
