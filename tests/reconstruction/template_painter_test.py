import dataclasses

import numpy as np
import pytest

from seqface_jax.reconstruction.face import Face
from seqface_jax.reconstruction.frame_fit import FrameFit
from seqface_jax.reconstruction.template_painter import TemplatePainter


def _plate(side=21):
    """Returns vertices, triangles and uv of a flat face, 160 mm wide, that looks ahead."""
    u, v = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    uv = np.stack([u.ravel(), v.ravel()], 1)
    vertices = np.concatenate([160 * (uv - 0.5), np.full((side * side, 1), 50.0)], 1)
    index = np.arange(side * side).reshape(side, side)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)]
    )
    return vertices.astype(np.float32), triangles.astype(np.int32), uv.astype(np.float32)


def _face(vertices, triangles, uv, distance=800.0):
    frame = FrameFit(
        rotation=np.diag([1.0, -1.0, -1.0]), translation=np.array([0.0, 0.0, distance]),
        focal_px=500.0, center_px=np.array([64.0, 64.0]), vertices=vertices,
        expression=np.zeros(0), reprojection_px=0.3, score=1.0, confidence=1.0,
    )  # fmt: skip
    confidence = np.full(len(vertices), 0.5, np.float32)
    return Face(vertices, triangles, confidence, uv=uv, frame_vertices=vertices, frame=frame)


def test_the_texture_shows_the_colours_of_the_photo_where_the_face_was():
    vertices, triangles, uv = _plate()
    photo = np.zeros((128, 128, 3), np.uint8)
    photo[:, :64] = [200, 40, 40]  # The left half of the photo: -x of the face.
    photo[:, 64:] = [40, 40, 200]
    painter = TemplatePainter(uv, triangles, size=64)
    face = _face(vertices, triangles, uv)
    pose = painter.add(photo, None, face)
    texture = painter.paint(face).texture
    unit = len(texture) // 64
    left, right = (texture[20 * unit : 44 * unit, x * unit : (x + 14) * unit] for x in (10, 40))
    np.testing.assert_allclose(left.mean((0, 1)), [200, 40, 40], atol=25)
    np.testing.assert_allclose(right.mean((0, 1)), [40, 40, 200], atol=25)
    np.testing.assert_allclose(pose.angles_rad, 0.0, atol=1e-9)


def test_nothing_is_painted_where_it_is_not_asked_for():
    vertices, triangles, uv = _plate()
    painter = TemplatePainter(uv, triangles, size=64, paints=False)
    face = _face(vertices, triangles, uv)
    assert painter.add(np.zeros((128, 128, 3), np.uint8), None, face) is not None
    assert painter.paint(face).texture is None


def _gone_wild(face):
    broken = np.full_like(face.vertices, np.nan)
    return dataclasses.replace(
        face, vertices=broken, frame=dataclasses.replace(face.frame, vertices=broken)
    )


def _far_off(face):
    return dataclasses.replace(face, frame=dataclasses.replace(face.frame, reprojection_px=8.0))


def _lost(face):
    moved = dataclasses.replace(face.frame, translation=np.full(3, np.nan))
    return dataclasses.replace(face, frame=moved)


@pytest.mark.parametrize('spoil', [_gone_wild, _far_off, _lost])
def test_a_face_that_cannot_be_painted_changes_nothing(spoil):
    vertices, triangles, uv = _plate()
    painter = TemplatePainter(uv, triangles, size=64, eye_rims=np.array([[0, 1, 30], [3, 4, 40]]))
    face = _face(vertices, triangles, uv)
    photo = np.full((128, 128, 3), 90, np.uint8)
    assert painter.add(photo, None, spoil(face)) is None
    assert painter.num_painted == 0 and painter.paint(face) is face
    assert painter.add(photo, None, face) is not None and painter.num_painted == 1
