import numpy as np
import pytest

from seqface_jax import checkpoints
from seqface_jax.geometry import sampling
from seqface_jax.reconstruction import eye_texture, flagship, full_head, head_texture

_SKIN, _MIDDLE, _EYES = (200, 150, 120), (0, 255, 0), (0, 0, 255)


@pytest.fixture(scope='module')
def picture():
    """Returns a texture of one skin, with a green middle and blue eyeballs."""
    made = np.full((64, 64, 3), _SKIN, np.uint8)
    made[12:48, 12:52] = _MIDDLE
    made[-int(64 * eye_texture.STRIP) :] = _EYES
    return made


@pytest.fixture(scope='module')
def face_uv():
    return flagship.read_geometry(flagship.geometry_path(checkpoints.pretrained())).uv


def test_face_and_eyeballs_look_as_before(picture, face_uv):
    before = sampling.sample_texture(picture, face_uv).astype(int)
    after = sampling.sample_texture(head_texture.framed(picture), head_texture.moved_uv(face_uv))
    off = np.abs(before - after).max(1)
    assert (off > 2).mean() < 0.02  # At the very border, where the strip of the eyeballs was near.


def test_no_triangle_behind_the_face_shows_a_part_of_the_face(picture, face_uv):
    own = full_head.mean_head()
    uv = head_texture.moved_uv(face_uv[: full_head.NUM_FACE])
    vertices = np.concatenate([own.face, own.vertices])
    behind = head_texture.behind_uv(uv, vertices, own.triangles)
    assert behind.min() >= 0 and behind.max() <= 1
    corners = np.concatenate([uv, behind])[own.triangles]
    colors = sampling.sample_texture(head_texture.framed(picture), corners.mean(1)).astype(int)
    assert np.abs(colors - _SKIN).max() < 30
    assert np.ptp(behind, axis=0).min() > 0.9  # It goes around the whole frame.
