"""The parametric face: its parameters, its expressions, its template."""

import numpy as np
import pytest

from data_prep.synthetic import expressions
from data_prep.synthetic.embedded_face import EXPRESSIONS, face_model


@pytest.fixture(scope='module')
def model():
    return face_model()


def test_there_are_at_least_30_named_identity_parameters(model):
    assert model.num_identity >= 30
    assert len(set(model.identity_names)) == model.num_identity


def test_every_parameter_moves_the_surface_by_a_visible_but_natural_amount(model):
    for k, name in enumerate(model.identity_names):
        one = np.zeros(model.num_identity)
        one[k] = 1.0
        moved = np.linalg.norm(model.neutral(one) - model.mean, axis=1).max()
        assert 0.25 < moved < 12.0, name


def test_zero_parameters_give_the_mean_face_with_its_nose_tip_90_mm_before_the_origin(model):
    neutral = model.neutral(np.zeros(model.num_identity))
    np.testing.assert_allclose(neutral, model.mean, atol=0.8)  # Lids may be pushed out a little.
    tip = neutral[model.landmarks['nose_tip']]
    np.testing.assert_allclose(tip, [0.0, 0.0, 90.0], atol=3.0)


def test_the_mean_face_is_symmetric(model):
    rows, columns = model.head_shape
    grid = model.mean[: rows * columns].reshape(rows, columns, 3)
    np.testing.assert_allclose(grid[:, ::-1] * [-1.0, 1.0, 1.0], grid, atol=1e-3)


def test_the_nose_tip_is_the_foremost_point(model):
    assert abs(model.mean[np.argmax(model.mean[:, 2])][0]) < 1.0
    assert model.mean[model.landmarks['nose_tip'], 2] > model.mean[:, 2].max() - 1.0


def test_identities_differ_by_2_5_to_4_mm_in_the_face_crop(model):
    rng = np.random.default_rng(0)
    tip = model.mean[model.landmarks['nose_tip']]
    crop = model.outside & (np.linalg.norm(model.mean - tip, axis=1) < 95.0)
    faces = np.stack(
        [model.neutral(model.sample_identity(rng, 'FM'[k % 2]))[crop] for k in range(40)]
    )
    mean = faces.mean(axis=0)
    errors = [np.linalg.norm(_aligned(face, mean) - mean, axis=1).mean() for face in faces]
    assert 2.5 < np.mean(errors) < 4.0


def _aligned(points, target):
    """Returns points, rigidly moved onto target; Kabsch, 1976."""
    center, target_center = points.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((points - center).T @ (target - target_center))
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    return (points - center) @ (u @ vt) + target_center


def test_the_same_seed_gives_the_same_identity(model):
    first = model.sample_identity(np.random.default_rng(3), 'F')
    np.testing.assert_array_equal(first, model.sample_identity(np.random.default_rng(3), 'F'))


def test_each_expression_moves_the_face_and_differs_from_the_others(model):
    zero = np.zeros(model.num_identity)
    faces = [model.vertices(zero, row) for row in np.eye(len(EXPRESSIONS))]
    neutral = model.neutral(zero)
    for k, face in enumerate(faces):
        assert np.linalg.norm(face - neutral, axis=1).max() > 3.0
        for other in faces[k + 1 :]:
            assert np.linalg.norm(face - other, axis=1).max() > 2.0


def test_the_mouth_opens_for_surprise_and_the_corners_rise_for_happiness(model):
    zero = np.zeros(model.num_identity)
    neutral = model.neutral(zero)
    surprise, happy = (
        model.vertices(zero, np.eye(6)[EXPRESSIONS.index(name)]) for name in ('Surprise', 'Happy')
    )
    chin, corner = model.landmarks['chin_tip'], model.landmarks['mouth_left']
    assert surprise[chin, 1] < neutral[chin, 1] - 12.0
    assert happy[corner, 1] > neutral[corner, 1] + 4.0
    assert happy[corner, 0] > neutral[corner, 0] + 3.0


@pytest.mark.parametrize('frames', [1, 2, 6, 100])
def test_expressions_begin_and_end_neutral_with_the_apex_between(frames):
    weights = expressions.weights_over_time(frames, np.random.default_rng(1))
    assert weights.shape == (frames,)
    assert weights[0] == 0.0 and weights[-1] == 0.0
    if frames >= 6:
        assert weights.max() > 0.6
        assert frames / 4 < np.argmax(weights) < 3 * frames / 4


def test_a_blink_covers_the_eyeballs(model):
    zero = np.zeros(model.num_identity)
    rows, columns = model.head_shape
    lid = model.vertices(zero, np.zeros(6), blink=1.0)[: rows * columns]
    eye = model.mean[np.isin(model.part, 2)]
    front = eye[(eye[:, 0] > 0)][np.argmax(eye[eye[:, 0] > 0][:, 2])]
    before = lid[np.linalg.norm(lid[:, :2] - front[:2], axis=1) < 1.5]
    assert before[:, 2].max() > front[2]
