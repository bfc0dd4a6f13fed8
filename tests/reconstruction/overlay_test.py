import dataclasses

import numpy as np
import pytest

from seqface_jax.reconstruction import frame_fit, overlay
from tests.helpers import small_fit


def _overlay():
    _, triangles, landmarks = small_fit.mesh()
    return overlay.MeshOverlay(triangles, landmarks)


def test_each_edge_of_two_triangles_is_there_once():
    edges = overlay.polygon_edges(np.array([[0, 1, 2], [0, 2, 3]]))
    assert edges.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]


def test_the_diagonal_of_a_quad_is_no_edge():
    assert [0, 2] not in overlay.polygon_edges(np.array([[0, 1, 2, 3]])).tolist()


def _pairs(vertices):
    return {tuple(sorted(pair)) for pair in zip(vertices[:-1], vertices[1:], strict=True)}


def test_trails_hold_each_edge_once_and_are_far_fewer():
    edges = overlay.polygon_edges(small_fit.mesh()[1])
    trails = [trail.tolist() for trail in overlay.edge_trails(edges)]
    assert sum(len(trail) - 1 for trail in trails) == len(edges) > 8 * len(trails)
    assert set().union(*map(_pairs, trails)) == {tuple(edge) for edge in edges.tolist()}


def test_exactly_the_edges_between_visible_vertices_are_drawn(monkeypatch):
    fit, drawn = small_fit.make(yaw_deg=40), []
    monkeypatch.setattr(overlay, '_fixed', lambda places: np.round(places, 6))
    monkeypatch.setattr(overlay, '_draw_lines', lambda picture, lines, *_: drawn.append(lines))
    shown = overlay.MeshOverlay(small_fit.mesh()[1])
    shown.draw(small_fit.photo(), fit)
    edges = overlay.polygon_edges(small_fit.mesh()[1])
    places = np.round(frame_fit.project(fit, fit.vertices), 6)
    seen = places[edges[shown.visible(fit)[edges].all(1)]]
    expected = {tuple(sorted(map(tuple, edge))) for edge in seen.tolist()}
    assert (
        set().union(*(_pairs([tuple(p) for p in line.tolist()]) for line in drawn[0])) == expected
    )


def test_the_drawing_stays_within_the_face_and_leaves_the_photo_alone():
    photo, fit = small_fit.photo(), small_fit.make()
    drawn = _overlay().draw(photo, fit)
    assert (photo == 40).all() and drawn.shape == photo.shape
    x0, y0, x1, y1 = overlay.face_square(fit, photo.shape[1::-1]).astype(int)
    outside = np.ones(photo.shape[:2], bool)
    outside[max(y0, 0) : y1, max(x0, 0) : x1] = False
    assert (drawn[outside] == 40).all() and (drawn != 40).any()


def test_a_landmark_is_drawn_where_it_is_seen():
    fit = small_fit.make()
    drawn = _overlay().draw(small_fit.photo(), fit)
    landmark = fit.vertices[small_fit.mesh()[2][40]][None]
    x, y = np.floor(frame_fit.project(fit, landmark)[0]).astype(int)
    red, _, blue = drawn[y, x].astype(int)
    assert red > 120 and red > blue + 80  # Yellow.


def test_the_far_cheek_of_a_turned_head_is_hidden():
    shown = _overlay()
    frontal = shown.visible(small_fit.make())
    turned = shown.visible(small_fit.make(yaw_deg=70))
    x, _, z = small_fit.mesh()[0].T
    assert frontal[z > 60].all()
    left, right = (x > 50) & (z > 20), (x < -50) & (z > 20)
    assert not turned[left].any() and turned[right].mean() > 0.8


def test_a_close_up_shows_the_photo_and_its_fit_at_one_place():
    photo = small_fit.photo()
    fit = small_fit.make()
    landmark = fit.vertices[small_fit.mesh()[2][30]][None]
    x, y = np.floor(frame_fit.project(fit, landmark)[0]).astype(int)
    photo[y - 1 : y + 2, x - 1 : x + 2] = 255
    picture, moved = overlay.close_up(photo, fit, 300)
    x, y = np.floor(frame_fit.project(moved, landmark)[0]).astype(int)
    assert picture.shape == (300, 300, 3) and picture[y, x].min() > 200


@pytest.mark.parametrize('shift_px', [0, 40, -60])
def test_a_close_up_of_a_face_at_the_border_stays_inside_the_photo(shift_px):
    photo = np.full((200, 240, 3), 90, np.uint8)
    fit = small_fit.make()
    fit = dataclasses.replace(fit, center_px=fit.center_px + [shift_px, shift_px / 2])
    picture, _ = overlay.close_up(photo, fit, 100)
    assert (picture == 90).all()


def test_a_close_up_of_a_narrow_photo_shows_the_face_from_top_to_bottom():
    fit = small_fit.make()
    low, high = np.array([f(frame_fit.project(fit, fit.vertices), 0) for f in (np.min, np.max)])
    width = int((high - low)[1] / 2)
    square = overlay.face_square(fit, (width, 1000))
    assert square[1] <= low[1] and square[3] >= high[1]
    assert square[0] + square[2] == pytest.approx(width)


def test_a_large_photo_is_shrunk_with_its_camera():
    photo = np.zeros((600, 1200, 3), np.uint8)
    fit = small_fit.make()
    picture, moved = overlay.whole(photo, fit, 300)
    assert picture.shape == (150, 300, 3)
    places = frame_fit.project(fit, fit.vertices)
    np.testing.assert_allclose(frame_fit.project(moved, fit.vertices), places / 4)


def test_a_face_beside_the_camera_can_be_drawn():
    fit = small_fit.make(translation=np.array([0.0, 0.0, -50.0]))
    assert _overlay().draw(small_fit.photo(), fit).shape == (200, 200, 3)
