"""Smooth random deformations: size, smoothness, symmetry, eyes in one piece."""

import numpy as np
import pytest

from data_prep.synthetic import appearance
from data_prep.synthetic.deformation import sample_deformation
from data_prep.synthetic.embedded_face import face_model
from data_prep.synthetic.person import Person

_MIRROR = [-1.0, 1.0, 1.0]


@pytest.fixture(scope='module')
def points():
    return np.random.default_rng(0).uniform(-80.0, 80.0, (200, 3))


@pytest.fixture(scope='module')
def moved(points):
    return np.stack(
        [sample_deformation(np.random.default_rng(k), 2.0)(points, []) for k in range(200)]
    )


def test_displacements_are_as_large_as_asked(moved):
    assert abs(np.sqrt((moved**2).mean()) - 2.0) < 0.15
    assert np.abs(moved.mean(axis=0)).max() < 0.7  # None is preferred.


def test_near_points_move_alike_and_far_ones_do_not(points):
    field = sample_deformation(np.random.default_rng(1), 2.0)
    slope = np.linalg.norm(field(points + [0.5, 0.0, 0.0], []) - field(points, []), axis=1) / 0.5
    assert slope.max() < 1.0  # Nothing folds.
    assert np.linalg.norm(field(points, []).std(axis=0)) > 1.0


def test_both_sides_move_nearly_alike(points, moved):
    mirrored = np.stack(
        [sample_deformation(np.random.default_rng(k), 2.0)(points * _MIRROR, []) for k in range(50)]
    )
    difference = np.sqrt(((moved[:50] - mirrored * _MIRROR) ** 2).mean())
    assert 0.5 < difference < 2.0  # Independent sides would give 2.8.


def test_the_same_draw_moves_the_same_way(points):
    first, again = (sample_deformation(np.random.default_rng(3), 2.0)(points, []) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_eyes_move_in_one_piece():
    center = np.array([31.0, 36.0, 46.0], np.float32)
    offsets = np.random.default_rng(0).standard_normal((100, 3))
    offsets /= np.linalg.norm(offsets, axis=1, keepdims=True)
    field = sample_deformation(np.random.default_rng(4), 3.0)
    near = field(center + 13.0 * offsets, [center])
    np.testing.assert_allclose(near, np.broadcast_to(near[0], near.shape), atol=1e-5)
    assert field(center + 13.0 * offsets, []).std(axis=0).max() > 0.1
    far = center + 30.0 * offsets
    np.testing.assert_array_equal(field(far, [center]), field(far, []))


def test_a_person_keeps_expressions_eyes_and_lids():
    face = face_model()
    looks = appearance.sample_appearance(np.random.default_rng(0), 'F')
    identity = np.zeros(face.num_identity, np.float32)
    plain = Person(identity, looks)
    deformed = Person(
        identity, looks, deformation=sample_deformation(np.random.default_rng(5), 3.0)
    )
    distance = np.linalg.norm(deformed.neutral - plain.neutral, axis=1)
    assert 1.0 < distance[face.outside].mean() < 10.0
    eye = next(part for part in deformed.parts if part.name == 'left_eye')
    before, after = (p.neutral[eye.first : eye.first + eye.size] for p in (plain, deformed))
    np.testing.assert_allclose(np.ptp(after, axis=0), np.ptp(before, axis=0), atol=1e-3)
    smile = np.eye(6)[2]
    still = [person.surface(smile * k, 0.0, np.eye(3), np.zeros(3)) for person in (plain, deformed)
             for k in (0, 1)]  # fmt: skip
    corner = face.landmarks['mouth_left']
    plain_move, move = (still[k + 1][corner] - still[k][corner] for k in (0, 2))
    np.testing.assert_allclose(move, plain_move, atol=1e-3)
