import numpy as np
import pytest

from seqface_jax import reconstruct
from seqface_jax.geometry import surface
from seqface_jax.geometry.alignment import RigidTransform
from seqface_jax.photos import pose_fitting
from seqface_jax.reconstruction import face_painter
from tests.helpers import bumpy_face

_COLOR = (200, 60, 40)
_PHOTO = np.full((256, 256, 3), _COLOR, np.uint8)
_BOX = [50, 50, 200, 200]
_FACING = pose_fitting.Pose(
    RigidTransform(np.eye(3), np.array([0.0, 0.0, -1060.0])),
    pose_fitting.Camera(1000.0, np.array([128.0, 128.0])),
    1.0,
)


@pytest.fixture
def face():
    points = bumpy_face.position_map_of(0)
    vertices, triangles = surface.from_prediction(
        points, ordered=True, mask=bumpy_face.mask_of(points)
    )
    return reconstruct.Face(vertices.astype(np.float32), triangles, np.ones(len(vertices)))


@pytest.fixture
def painter():
    return face_painter.FacePainter(bumpy_face.mask_of(bumpy_face.position_map_of(0)), size=32)


def _fits(monkeypatch, answer):
    seen = []

    def fit(photo, box, points, mask, *, looks=None):
        seen.append(looks)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(pose_fitting, 'fit', fit)
    return seen


def test_the_face_takes_the_photo_s_colour_at_places_of_its_vertices(painter, face, monkeypatch):
    _fits(monkeypatch, _FACING)
    assert painter.add(_PHOTO, _BOX, face) is _FACING
    painted = painter.paint(face)
    np.testing.assert_allclose(painted.texture[16, 16], _COLOR, atol=1)
    assert painted.uv.shape == (len(face.vertices), 2)
    leftmost = face.vertices[:, 0].argmax()  # The subject's left is the texture's right.
    assert painted.uv[leftmost, 0] > 0.8
    np.testing.assert_array_equal(painted.vertices, face.vertices)


_POOR, _LOST = (_FACING._replace(score=score) for score in (0.1, np.nan))


@pytest.mark.parametrize('answer', [_POOR, _LOST, np.linalg.LinAlgError('singular')])
def test_a_photo_without_a_pose_paints_nothing_and_the_face_stays(
    painter, face, monkeypatch, answer
):
    _fits(monkeypatch, answer)
    assert painter.add(_PHOTO, _BOX, face) is None
    assert painter.num_painted == 0 and painter.paint(face) is face


def test_a_face_gone_wild_paints_nothing(painter, face):
    wild = np.full_like(face.vertices, np.nan)
    broken = reconstruct.Face(wild, face.triangles, face.confidence)
    assert painter.add(_PHOTO, _BOX, broken) is None and painter.num_painted == 0


def test_photos_are_compared_with_the_person_s_own_looks_once_they_are_known(
    painter, face, monkeypatch
):
    seen = _fits(monkeypatch, _FACING)
    for _ in range(4):
        painter.add(_PHOTO, _BOX, face)
    assert [looks is None for looks in seen] == [True, True, True, False]
    np.testing.assert_allclose(seen[3][64, 64], np.mean(_COLOR), atol=1)


def test_a_map_is_continued_beyond_its_mask(face):
    mask = bumpy_face.mask_of(bumpy_face.position_map_of(0))
    whole = face_painter.whole_map(face.vertices, mask)
    np.testing.assert_array_equal(whole[mask], face.vertices)
    assert np.isfinite(whole).all() and np.linalg.norm(whole, axis=-1).min() > 40
