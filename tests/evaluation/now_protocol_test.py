import numpy as np
import pytest

from seqface_jax.errors import UserError
from seqface_jax.evaluation import now_protocol
from seqface_jax.geometry import surface
from tests.helpers import bumpy_face


@pytest.fixture(scope='module')
def face():
    return surface.from_prediction(bumpy_face.position_map_of(0, 40), ordered=True)


@pytest.fixture(scope='module')
def landmarks(face):
    """Seven vertices in the order of the challenge."""
    wanted = [(-45, 35), (-15, 35), (15, 35), (45, 35), (0, -10), (-25, -35), (25, -35)]
    vertices, _ = face
    away = np.linalg.norm(vertices[:, None, :2] - np.array(wanted), axis=2)
    return vertices[(away - 0.2 * vertices[:, None, 2]).argmin(axis=0)]


def test_the_crop_of_a_square_face():
    marks = np.array([[-40.0, 30, 0], [-10, 30, 0], [10, 30, 0], [40, 30, 0], [0, -10, 0]])
    marks = np.concatenate([marks, [[-20.0, -40, 0], [20, -40, 0]]])
    centre, radius = now_protocol.crop(marks)
    np.testing.assert_allclose(centre, [0, 2, 0])  # -10 + 0.3 (30 + 10)
    assert radius == pytest.approx(84.0)  # 1.4 (80 + 40) / 2


def test_a_face_of_another_size_and_place_is_at_no_distance(face, landmarks):
    vertices, triangles = face
    target = now_protocol.make_target(vertices, landmarks)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])

    def moved(points):
        return 0.1 * points @ turn.T + [7, 8, 9]

    gaps = now_protocol.distances(moved(vertices), triangles, moved(landmarks), target)
    assert len(gaps) == len(target.points)
    assert gaps.max() < 1e-3


def test_wrong_landmarks_are_mended_by_the_surface(face, landmarks):
    """The second alignment moves the mesh by its surface, away from where the landmarks put it."""
    vertices, triangles = face
    target = now_protocol.make_target(vertices, landmarks)
    off = landmarks + np.random.default_rng(0).normal(0, 3, landmarks.shape)
    assert now_protocol.distances(vertices, triangles, off, target).mean() < 0.3


def test_a_dent_of_two_mm_is_told_in_mm_of_the_scan(face, landmarks):
    vertices, triangles = face
    target = now_protocol.make_target(vertices, landmarks)
    dented = vertices.copy()
    near = np.linalg.norm(vertices - landmarks[5], axis=1) < 12
    dented[near] -= 2 * dented[near] / np.linalg.norm(dented[near], axis=1, keepdims=True)
    gaps = now_protocol.distances(0.01 * dented, triangles, 0.01 * landmarks, target)
    assert 1.2 < np.percentile(gaps, 99.5) < 2.2
    assert np.median(gaps) < 0.3


def test_distances_of_all_photos_are_pooled():
    median, mean, std = now_protocol.pooled([np.array([0.0, 0.0, 0.0]), np.array([4.0])])
    assert (median, mean) == (0, 1)
    assert std == pytest.approx(np.sqrt(3))


def test_landmarks_of_another_person_are_refused(face, landmarks):
    with pytest.raises(UserError, match='of one person'):
        now_protocol.make_target(face[0], landmarks + 1000)
