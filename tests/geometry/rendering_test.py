import numpy as np

from seqface_jax.geometry import rendering, surface
from tests.helpers import bumpy_face


def _drawn(image):
    return (image < 255).any(-1)


def test_a_square_covers_its_own_pixels():
    # 105 mm of the 210 mm that the picture shows: half of 64 pixels each way.
    half = 105 / 2
    corners = np.array([[-half, -half, 60], [half, -half, 60], [half, half, 60], [-half, half, 60]])
    image = rendering.render(corners, np.array([[0, 1, 2], [0, 2, 3]]), size=64)
    expected = np.zeros((64, 64), bool)
    expected[16:48, 16:48] = True
    np.testing.assert_array_equal(_drawn(image), expected)


def test_the_nearer_of_two_surfaces_is_seen():
    square = np.array([[-40, -40, 0], [40, -40, 0], [40, 40, 0], [-40, 40, 0.0]])
    tilted = square + np.array([0, 0, 30]) + square[:, :1] * [0, 0, 0.3]
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    both = rendering.render(
        np.concatenate([square, tilted]), np.concatenate([triangles, triangles + 4]), size=64
    )
    np.testing.assert_array_equal(both, rendering.render(tilted, triangles, size=64))


def test_turning_shows_the_face_own_left():
    # A marker on the subject's left comes to the middle when the view turns that way.
    marker = np.array([[60, -5, 58], [60, 5, 58], [60, 0, 62.0]])
    front = rendering.render(marker, np.array([[0, 1, 2]]), size=64)
    assert not _drawn(front)[:, 20:44].any()
    side = rendering.render(marker, np.array([[0, 1, 2]]), azimuth_rad=np.pi / 2, size=64)
    assert _drawn(side)[:, 20:44].any()


def test_a_face_has_no_holes_and_the_nose_is_lit_unlike_the_cheeks():
    face = bumpy_face.position_map_of(0)
    mesh = surface.from_prediction(face, ordered=True, mask=bumpy_face.mask_of(face))
    image = rendering.render(*mesh, size=160)
    columns = np.flatnonzero(_drawn(image).any(0))
    rows = np.flatnonzero(_drawn(image).any(1))
    for row in rows[10:-10]:
        drawn = np.flatnonzero(_drawn(image)[row])
        np.testing.assert_array_equal(np.diff(drawn), 1)
    assert len(columns) > 80 and image[_drawn(image)].std() > 10


def test_nothing_to_draw_is_an_empty_picture():
    painted = {'uv': np.zeros((3, 2)), 'texture': np.zeros((4, 4, 3), np.uint8)}
    for paint in ({}, painted):
        image = rendering.render(np.zeros((3, 3)), np.array([[0, 1, 2]]), size=16, **paint)
        assert not _drawn(image).any()


def test_a_whole_face_touches_no_border_from_any_side():
    points = bumpy_face.position_map_of(0)
    vertices, triangles = surface.from_prediction(
        points, ordered=True, mask=bumpy_face.mask_of(points)
    )
    shown = rendering.whole(3 * vertices + [200.0, 0.0, 0.0])
    for azimuth in (-1.2, 0.0, 0.6):
        drawn = _drawn(rendering.render(shown, triangles, azimuth_rad=azimuth, size=64))
        inside = drawn[1:-1, 1:-1].sum()
        assert inside > 200 and inside == drawn.sum()


def test_a_hole_of_the_mesh_is_dark_and_what_is_outside_is_not():
    outer = np.array([[-40, -40, 60], [40, -40, 60], [40, 40, 60], [-40, 40, 60.0]])
    inner = (outer - [0, 0, 60]) / 4 + [0, 0, 60]
    ring = [[k, (k + 1) % 4, 4 + k] for k in range(4)]
    ring += [[4 + k, k, 4 + (k - 1) % 4] for k in range(4)]
    image = rendering.render(np.concatenate([outer, inner]), np.array(ring), size=64)
    assert (image[32, 32] < 100).all() and (image[0, 0] == 255).all()
