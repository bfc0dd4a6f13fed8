import numpy as np
import pytest

from seqface_jax.geometry import map_casting, map_grid, surface
from tests.helpers import bumpy_face

FACE = bumpy_face.position_map_of(3, 64)
INSIDE = slice(1, -1), slice(1, -1)  # Rounding decides whether rays meet the very rim.


def _mesh(face, mask=None):
    vertices, triangles = surface.from_prediction(face, ordered=True, mask=mask)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(vertices))  # Vertex k is at no particular pixel.
    return vertices[order], np.argsort(order)[triangles]


def test_the_mesh_of_a_position_map_is_cast_back_to_it():
    vertices, triangles = _mesh(FACE)
    found = map_casting.cast(vertices, triangles, 64).position_map(vertices)
    np.testing.assert_allclose(found[INSIDE], FACE[INSIDE], atol=1e-3)


def test_between_the_vertices_lies_the_surface_and_every_point_is_on_its_ray():
    vertices, triangles = _mesh(FACE)
    found = map_casting.cast(vertices, triangles).position_map(vertices)
    distance = surface.Surface(vertices, triangles).closest(found[INSIDE].reshape(-1, 3)).distance
    assert distance.max() < 0.1
    unit = found / np.linalg.norm(found, axis=-1, keepdims=True)
    np.testing.assert_allclose(unit, map_grid.ray_directions(), atol=1e-6)


def test_the_outermost_of_two_surfaces_counts():
    vertices, triangles = _mesh(FACE)
    both = np.concatenate([vertices, 0.8 * vertices])
    hits = map_casting.cast(both, np.concatenate([triangles + len(vertices), triangles]), 64)
    np.testing.assert_allclose(hits.position_map(both)[INSIDE], FACE[INSIDE], atol=1e-3)


def test_a_pixel_without_surface_has_the_radius_of_the_nearest_one_with_some():
    mask = np.ones((128, 128), bool)
    mask[:, 121:] = False  # The mesh ends between the columns 59 and 60 of 64.
    vertices, triangles = _mesh(bumpy_face.position_map_of(3), mask)
    found = map_casting.cast(vertices, triangles, 64).position_map(vertices)
    radius = np.linalg.norm(found, axis=-1)
    np.testing.assert_allclose(radius[:, 60:], np.repeat(radius[:, 59:60], 4, axis=1), rtol=1e-5)


def test_a_triangle_across_the_nape_is_not_seen_from_the_front():
    vertices, triangles = _mesh(FACE)
    nape = np.array([[-30, -30, -300], [30, -30, -300], [0, 40, -300.0]])
    both = np.concatenate([vertices, nape])
    triangles = np.concatenate([triangles, [len(vertices) + np.arange(3)]])
    hits = map_casting.cast(both, triangles, 64)
    np.testing.assert_allclose(hits.position_map(both)[INSIDE], FACE[INSIDE], atol=1e-3)


def test_values_of_vertices_are_read_where_the_rays_meet_the_mesh():
    vertices, triangles = _mesh(FACE)
    hits = map_casting.cast(vertices, triangles, 64)
    heights = hits.interpolate(vertices[:, 1])
    np.testing.assert_allclose(heights[INSIDE], FACE[INSIDE][..., 1], atol=1e-3)


def test_a_mesh_behind_the_head_is_refused():
    nape = np.array([[-30, -30, -300], [30, -30, -300], [0, 40, -300.0]])
    with pytest.raises(ValueError, match='no ray'):
        map_casting.cast(nape, np.array([[0, 1, 2]]))
