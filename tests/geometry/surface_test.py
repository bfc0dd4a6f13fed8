import time

import numpy as np
import pytest

from seqface_jax.geometry import map_grid, surface
from tests.helpers import bumpy_face


def _segment_distance(point, start, end):
    along = end - start
    length = (along**2).sum(-1)
    t = np.clip(((point - start) * along).sum(-1) / np.where(length > 0, length, 1), 0, 1)
    return np.linalg.norm(point - start - t[..., None] * along, axis=-1)


def _brute_force(points, vertices, triangles):
    """Distance to the nearest of all triangles: their planes inside, their edges elsewhere."""
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1)
    normal = normal / np.where(area > 0, area, 1)[:, None]
    distances = []
    for p in points:
        nearest = np.minimum(_segment_distance(p, a, b), _segment_distance(p, b, c))
        nearest = np.minimum(nearest, _segment_distance(p, c, a))
        inside = area > 0
        for start, end in ((a, b), (b, c), (c, a)):
            inside &= (np.cross(end - start, p - start) * normal).sum(-1) >= 0
        plane = np.abs(((p - a) * normal).sum(-1))
        distances.append(np.where(inside, np.minimum(plane, nearest), nearest).min())
    return np.array(distances)


@pytest.mark.parametrize('spread_mm', [0.5, 5.0, 60.0])
def test_closest_points_of_a_face_agree_with_brute_force(spread_mm):
    vertices, triangles = surface.from_prediction(bumpy_face.position_map_of(0, 48), ordered=True)
    rng = np.random.default_rng(1)
    points = vertices[::13] + rng.normal(0, spread_mm, vertices[::13].shape)
    hits = surface.Surface(vertices, triangles).closest(points)
    expected = _brute_force(points, vertices, triangles)
    np.testing.assert_allclose(hits.distance, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(points - hits.point, axis=1), hits.distance)


def test_closest_points_of_long_and_degenerate_triangles_agree_with_brute_force():
    rng = np.random.default_rng(2)
    # Small triangles, slivers 200 mm long, and triangles without area.
    vertices = rng.normal(0, 20, (300, 3))
    small = rng.integers(300, size=(200, 3))
    vertices[:100] = vertices[:1] + rng.normal(0, 0.5, (100, 3))
    vertices[290:] *= 8
    points_and_lines = np.array([[5, 5, 5], [6, 6, 200], [299, 298, 298]])
    triangles = np.concatenate([small, rng.integers(100, size=(200, 3)), points_and_lines])
    points = rng.normal(0, 60, (200, 3))
    hits = surface.Surface(vertices, triangles).closest(points)
    expected = _brute_force(points, vertices, triangles)
    np.testing.assert_allclose(hits.distance, expected, atol=1e-6)


def test_points_deep_inside_the_head_agree_with_brute_force():
    """All of the face is about equally far from them."""
    vertices, triangles = surface.from_prediction(bumpy_face.position_map_of(0, 48), ordered=True)
    points = np.random.default_rng(1).normal(0, 30, (200, 3))
    hits = surface.Surface(vertices, triangles).closest(points)
    np.testing.assert_allclose(hits.distance, _brute_force(points, vertices, triangles), atol=1e-6)


def test_the_closest_point_lies_in_the_triangle_that_is_named():
    vertices, triangles = surface.from_prediction(bumpy_face.position_map_of(0, 32), ordered=True)
    mesh = surface.Surface(vertices, triangles)
    hits = mesh.closest(vertices + 1.0)
    named = [
        _brute_force(point[None], vertices, triangles[index : index + 1])[0]
        for point, index in zip(hits.point[::50], hits.triangle[::50], strict=True)
    ]
    np.testing.assert_allclose(named, 0, atol=1e-9)


def test_only_points_beyond_the_rim_are_on_the_border():
    # A square of two triangles: above it, beside it, beyond a corner, and at its diagonal.
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    mesh = surface.Surface(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    points = np.array([[0.7, 0.2, 1], [2, 0.5, 0], [2, 2, 0], [0.5, 0.5, 1]], float)
    hits = mesh.closest(points)
    np.testing.assert_array_equal(hits.on_border, [False, True, True, False])
    np.testing.assert_allclose(hits.distance, [1, 1, np.sqrt(2), 1])


def test_16384_queries_on_33k_triangles_take_less_than_a_second():
    face = bumpy_face.position_map_of(0)
    vertices, triangles = surface.from_prediction(face, ordered=True)
    points = vertices + np.random.default_rng(0).normal(0, 2, vertices.shape)
    begin = time.process_time()
    surface.Surface(vertices, triangles).closest(points)
    assert len(points) == 16384 and len(triangles) > 32_000
    assert time.process_time() - begin < 1


def test_an_ordered_prediction_keeps_the_masked_points_only():
    face = bumpy_face.position_map_of(0)
    mask = bumpy_face.mask_of(face)
    vertices, triangles = surface.from_prediction(face, ordered=True, mask=mask)
    np.testing.assert_array_equal(vertices, face[mask].astype(float))
    expected = face.reshape(-1, 3)[map_grid.grid_triangles(mask)]
    np.testing.assert_array_equal(vertices[triangles], expected)


def test_an_unordered_prediction_gives_nearly_the_same_surface_in_any_order():
    face = bumpy_face.position_map_of(0, 64)
    shuffled = np.random.default_rng(0).permutation(face.reshape(-1, 3)).reshape(face.shape)
    vertices, triangles = surface.from_prediction(shuffled, ordered=False)
    normals = surface.vertex_normals(vertices, triangles)
    assert ((normals * vertices).sum(1) > 0).all()  # Outward.
    inner = bumpy_face.scan_of(bumpy_face.position_map_of(0), noise_mm=0)
    hits = surface.Surface(vertices, triangles).closest(inner.vertices[::7])
    assert hits.distance.mean() < 0.15


def test_unordered_triangles_do_not_bridge_gaps():
    face = bumpy_face.position_map_of(0, 64)
    gap = np.concatenate([face[:, :20], face[:, 44:], face[:, :16]], axis=1)[:, :64]
    vertices, triangles = surface.from_prediction(gap[:60, :60], ordered=False)
    edges = vertices[triangles] - vertices[np.roll(triangles, 1, axis=1)]
    assert np.linalg.norm(edges, axis=-1).max() < 25  # The gap is 60 mm wide.


def test_a_collapsed_unordered_prediction_is_a_point():
    collapsed = np.full((8, 8, 3), 50.0)
    mesh = surface.Surface(*surface.from_prediction(collapsed, ordered=False))
    hits = mesh.closest(np.array([[50.0, 50.0, 60.0]]))
    np.testing.assert_allclose(hits.distance, [10])
    assert hits.on_border.all()


def test_face_mask_keeps_what_a_quarter_of_the_people_have():
    masks = np.array([[[True, False]], [[False, False]], [[False, True]], [[False, True]]])
    np.testing.assert_array_equal(surface.face_mask(masks), [[True, True]])
    np.testing.assert_array_equal(surface.face_mask(masks[:2, :, 1:]), [[False]])


def test_crop_mask_is_a_ball_of_95_mm_about_the_nose():
    face = bumpy_face.position_map_of(0)
    mask = surface.crop_mask(face)
    nose = face.reshape(-1, 3)[face[..., 2].argmax()]
    np.testing.assert_array_equal(mask, np.linalg.norm(face - nose, axis=-1) <= 95)


def test_a_mask_of_another_size_raises():
    with pytest.raises(ValueError, match='side 128'):
        surface.resize_mask(np.ones((128, 128), bool), 48)


def test_a_surface_without_triangles_or_with_nan_raises():
    with pytest.raises(ValueError, match='at least one'):
        surface.Surface(np.zeros((3, 3)), np.zeros((0, 3), int))
    with pytest.raises(ValueError, match='finite'):
        surface.Surface(np.full((3, 3), np.nan), np.array([[0, 1, 2]]))
