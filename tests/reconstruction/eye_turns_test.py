import numpy as np
import pytest

from seqface_jax.reconstruction import eye_turns, rigged_glb

_RADIUS_MM = 12.0


def _fronts():
    """Returns the front halves of two balls, left first, and whose each vertex is."""
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(400, 3))
    ball[0] = [0, 0, 1]  # The pupil.
    ball[:, 2] = np.abs(ball[:, 2])
    ball *= _RADIUS_MM / np.linalg.norm(ball, axis=1, keepdims=True)
    left, right = ball + [32, 40, 50], ball + [-32, 40, 50]
    return np.concatenate([left, right]), np.repeat([0, 1], len(ball))


@pytest.mark.parametrize(
    ('name', 'side', 'axis', 'sign'),
    [
        ('eyeLookInLeft', 0, 0, -1),
        ('eyeLookOutLeft', 0, 0, 1),
        ('eyeLookInRight', 1, 0, 1),
        ('eyeLookOutRight', 1, 0, -1),
        ('eyeLookUpLeft', 0, 1, 1),
        ('eyeLookDownRight', 1, 1, -1),
    ],
)
def test_the_pupil_goes_where_the_name_says_and_the_other_eye_rests(name, side, axis, sign):
    vertices, sides = _fronts()
    (moved,) = eye_turns.shifts(vertices, sides, [name])
    pupil = moved[400 * side]
    assert sign * pupil[axis] > 0.2 * _RADIUS_MM
    assert abs(pupil[1 - axis]) < 0.01
    assert not moved[sides != side].any()


def test_a_turned_ball_keeps_its_radius_and_its_cut_edge():
    vertices, sides = _fronts()
    moved = vertices + eye_turns.shifts(vertices, sides, ['eyeLookDownLeft'])[0]
    left = sides == 0
    middle = eye_turns.middle(vertices[left])
    np.testing.assert_allclose(middle, [32, 40, 50], atol=1e-6)
    radii = np.linalg.norm(moved[left] - middle, axis=1)
    np.testing.assert_allclose(radii, _RADIUS_MM, atol=1e-4)
    edge = left & (vertices[:, 2] - 50 < np.cos(np.radians(86)) * _RADIUS_MM)
    assert edge.sum() > 5
    np.testing.assert_allclose(moved[edge], vertices[edge], atol=1e-6)


def test_only_the_looks_turn_eyes_and_all_eight_do():
    vertices, sides = _fronts()
    moved = eye_turns.shifts(vertices, sides, rigged_glb.ARKIT_NAMES)
    turning = [n for n, m in zip(rigged_glb.ARKIT_NAMES, moved, strict=True) if m.any()]
    assert turning == [name for name in rigged_glb.ARKIT_NAMES if name.startswith('eyeLook')]
    assert len(turning) == 8
