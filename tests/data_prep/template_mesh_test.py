import numpy as np
import pytest

from data_prep.synthetic import template_marks, template_mesh

_EYES = {1: (30.0, 36.0), -1: (-30.0, 36.0)}
_SIZE = (12.0, 6.0)  # Half axes of an eye hole, mm.


def _sheet():
    """Returns a flat sheet with two eye holes and a deep pit at the origin, and landmarks."""
    x, y = np.meshgrid(np.arange(-60.0, 61.0, 2.0), np.arange(-30.0, 71.0, 2.0))
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    quads = np.stack([k.ravel() for k in (a, b, c, a, c, d)], axis=1).reshape(-1, 3)
    x, y = x.ravel(), y.ravel()
    z = np.where(np.hypot(x, y) < 3.0, -40.0, 0.0)
    hole = np.zeros(len(x), bool)
    for eye_x, eye_y in _EYES.values():
        hole |= np.hypot((x - eye_x) / _SIZE[0], (y - eye_y) / _SIZE[1]) < 1
    triangles = quads[~hole[quads].any(axis=1)]
    used, triangles = np.unique(triangles, return_inverse=True)
    vertices = np.stack([x, y, z], axis=1)[used]
    landmarks = np.zeros(68, np.int64)
    for number, place in ((42, (16, 36)), (45, (44, 36)), (39, (-16, 36)), (36, (-44, 36))):
        landmarks[number] = np.argmin(np.linalg.norm(vertices[:, :2] - place, axis=1))
    return vertices, triangles.reshape(-1, 3), landmarks


def test_rims_run_from_the_inner_corner_over_the_upper_lid_on_both_sides():
    vertices, triangles, landmarks = _sheet()
    for rim, side in zip(
        template_mesh.eye_rims(vertices, triangles, landmarks), (1, -1), strict=True
    ):
        points = vertices[rim]
        assert np.abs(points[0, 0]) == np.abs(points[:, 0]).min()
        assert (points[:, 0] * side > 0).all()
        quarter = points[len(points) // 4]
        assert quarter[1] > 36.0


def test_a_mesh_without_eye_holes_is_refused():
    vertices, triangles, landmarks = _sheet()
    with pytest.raises(ValueError, match='no hole'):
        template_mesh.eye_rims(vertices, triangles, np.zeros_like(landmarks))


def test_the_bottom_of_a_deep_pit_is_a_pocket_and_the_sheet_is_not():
    vertices, triangles, _ = _sheet()
    found = template_mesh.pockets(vertices, triangles)
    away = np.hypot(vertices[:, 0], vertices[:, 1])
    assert found[away < 1.0].all()
    assert not found[away > 10.0].any()


def test_a_rim_is_laid_round_the_kinds_rim_of_another_size():
    vertices, triangles, landmarks = _sheet()
    mesh = template_mesh.TemplateMesh(vertices, None, triangles, landmarks, None, None)
    angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    rims = [
        np.stack([x + 20 * np.cos(angle), y + 9 * np.sin(angle), 5 + 0 * angle], axis=1)
        for x, y in _EYES.values()
    ]
    marked, places = template_marks.marks(mesh, {42: np.array([8.0, 36.0, 5.0])}, rims)
    assert marked[0] == landmarks[42]
    np.testing.assert_allclose(places[0], [8.0, 36.0, 5.0])
    own, there = vertices[marked[1:]], places[1:]
    center = np.where(own[:, :1] > 0, [_EYES[1]], [_EYES[-1]])
    on_ellipse = np.hypot(*((there[:, :2] - center) / [20.0, 9.0]).T)
    np.testing.assert_allclose(on_ellipse, 1.0, atol=0.02)
    cosine = ((own[:, :2] - center) * (there[:, :2] - center)).sum(axis=1)
    assert (cosine > 0).all()  # Each goes to its own side of the hole.
