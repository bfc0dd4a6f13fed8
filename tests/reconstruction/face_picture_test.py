import numpy as np

from seqface_jax.geometry import surface
from seqface_jax.reconstruction import face_picture
from seqface_jax.reconstruction.face import Face
from tests.helpers import bumpy_face

_GREEN = (0, 200, 0)


def _face(**more):
    points = bumpy_face.position_map_of(0)
    vertices, triangles = surface.from_prediction(
        points, ordered=True, mask=bumpy_face.mask_of(points)
    )
    return Face(vertices, triangles, np.ones(len(vertices)), **more)


def _frames(count):
    return [np.full((32, 32, 3), (250, 30 + 10 * k, 90), np.uint8) for k in range(count)]


def test_the_texture_is_shown_beside_the_shape():
    count = len(_face().vertices)
    texture = np.full((8, 8, 3), _GREEN, np.uint8)
    painted = face_picture.draw(
        _frames(1), _face(uv=np.full((count, 2), 0.5, np.float32), texture=texture)
    )
    is_green = (painted == _GREEN).all(-1)
    assert is_green[:, 550:].sum() > 20_000 and not is_green[:, :550].any()
    plain = face_picture.draw(_frames(1), _face())
    assert not (plain == _GREEN).all(-1).any()
    assert (plain[180:] != 255).any(-1).sum() > 20_000


def test_of_many_frames_eight_are_shown_evenly_spread():
    picture = face_picture.draw(_frames(15), _face(), num_frames=15)
    red = np.flatnonzero((picture[90, :, 0] == 250) & (picture[90, :, 2] == 90))
    shown = list(dict.fromkeys(picture[90, red, 1].tolist()))
    assert shown == [30 + 10 * k for k in range(0, 15, 2)]


def test_few_frames_stand_in_the_middle():
    picture = face_picture.draw(_frames(1), _face())
    red = np.flatnonzero((picture[90, :, 0] == 250) & (picture[90, :, 2] == 90))
    assert abs(red.mean() - (picture.shape[1] - 1) / 2) <= 1
