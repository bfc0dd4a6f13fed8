import numpy as np
import pytest

from seqface_jax.geometry.alignment import RigidTransform
from seqface_jax.photos import pose_fitting
from seqface_jax.reconstruction import eye_texture

_SIZE = 512
_IRIS, _SCLERA = np.array([90, 60, 30]), np.array([220, 215, 210])


def _balls():
    """Returns the fronts of two balls of 12 mm, [N, 3] mm, and the side of each vertex."""
    x, y = (axis.ravel() for axis in np.meshgrid(*[np.linspace(-11, 11, 23)] * 2))
    inside = np.hypot(x, y) < 11
    front = np.stack([x, y, np.sqrt(np.maximum(144 - x * x - y * y, 0))], 1)[inside]
    side = np.repeat([0, 1], len(front))
    return np.concatenate([front + [32, 40, 47], front + [-32, 40, 47]]), side


@pytest.fixture(scope='module')
def places():
    """Returns the texture coordinates of the balls, [N, 2], and their pixels, rows and columns."""
    vertices, side = _balls()
    uv = eye_texture.joined_uv(np.array([[0.0, 0.0], [1.0, 1.0]]), vertices, side)
    row, column = ((1 - uv[2:, 1]) * _SIZE).astype(int), (uv[2:, 0] * _SIZE).astype(int)
    return uv, row, column


def _angles():
    vertices, side = _balls()
    offset = vertices - np.where(side[:, None] == 0, [32, 40, 47], [-32, 40, 47])
    return np.degrees(np.arccos(offset[:, 2] / 12)), offset


def test_face_and_eyeballs_share_no_texels_and_are_symmetric(places):
    uv, _, _ = places
    _, side = _balls()
    face, left, right = uv[:2], uv[2:][side == 0], uv[2:][side == 1]
    assert face[:, 1].max() == 1 and left[:, 1].max() < face[:, 1].min()
    assert left[:, 0].min() > right[:, 0].max() + 0.02
    np.testing.assert_allclose(np.sort(left[:, 0]), np.sort(1 - right[:, 0]), atol=1e-5)


def _picture(places, seen):
    """Returns a texture with irises only where texels were seen, and the weights."""
    _, row, column = places
    angle, _ = _angles()
    picture, weights = np.zeros((_SIZE, _SIZE, 3), np.uint8), np.zeros((_SIZE, _SIZE))
    for r, c, a, s in zip(row, column, angle, seen, strict=True):
        if s:
            picture[r, c], weights[r, c] = _IRIS if a < 28 else _SCLERA, 1
    return picture, weights


def test_what_lids_hide_of_an_iris_is_round(places):
    _, row, column = places
    angle, offset = _angles()
    filled = eye_texture.fill(*_picture(places, np.abs(offset[:, 1]) < 2))[row, column]
    hidden = np.abs(offset[:, 1]) > 2
    assert np.abs(filled[hidden & (angle < 23)] - _IRIS).max() < 12
    above = hidden & (angle > 36) & (np.abs(offset[:, 0]) < 3)
    assert np.abs(filled[above] - _SCLERA).max() < 12


def test_an_eye_that_no_photo_shows_looks_like_the_other(places):
    _, row, column = places
    angle, _ = _angles()
    _, side = _balls()
    filled = eye_texture.fill(*_picture(places, side == 0))[row, column]
    assert np.abs(filled[(side == 1) & (angle < 23)] - _IRIS).max() < 12


def test_what_is_seen_and_what_is_no_eyeball_stays(places):
    picture, weights = _picture(places, np.ones(len(places[1]), bool))
    picture[:400] = 77
    filled = eye_texture.fill(picture, weights)
    np.testing.assert_array_equal(filled[weights > 0], picture[weights > 0])
    np.testing.assert_array_equal(filled[:400], 77)
    assert eye_texture.fill(picture, 0 * weights) is picture


def test_a_photo_shows_of_eyeballs_what_lies_between_the_lids(places):
    _, row, column = places
    _, offset = _angles()
    points = np.full((_SIZE, _SIZE, 3), [0.0, 0.0, 100.0])
    points[row, column] = offset
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    rim = np.stack([10 * np.cos(turn), 5 * np.sin(turn), np.full(20, 10)], 1)
    pose = pose_fitting.Pose(
        RigidTransform(np.eye(3), np.array([0, 0, -1000.0])),
        pose_fitting.Camera(1000.0, np.zeros(2)),
        1.0,
    )
    hidden = eye_texture.unseen(pose, points, np.stack([rim, rim]))
    assert hidden[row, column][np.abs(offset[:, 1]) > 5].all()
    assert not hidden[row, column][np.abs(offset[:, :2]).max(1) < 3].any()
    assert not hidden[:400].any()
