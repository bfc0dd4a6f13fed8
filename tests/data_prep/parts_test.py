"""Parts of a surface: a grid and the same grid as a mesh answer alike."""

import numpy as np
import pytest

from data_prep.synthetic import head
from data_prep.synthetic.parts import GridPart, MeshPart

_SHAPE = (9, 13)


def _points():
    y, x = np.meshgrid(
        np.linspace(40, -40, _SHAPE[0]), np.linspace(-60, 60, _SHAPE[1]), indexing='ij'
    )
    return np.stack([x, y, 80 - x**2 / 90 - y**2 / 120], axis=-1).reshape(-1, 3).astype(np.float32)


def _mesh():
    triangles = head.grid_triangles(*_SHAPE)
    places = np.stack([triangles // _SHAPE[1], triangles % _SHAPE[1]], axis=-1)
    return MeshPart('mesh', 'skin', 5, _points(), triangles, places.astype(np.float32))


@pytest.fixture
def both():
    return GridPart('grid', 'skin', 5, _SHAPE), _mesh()


def test_triangles_count_from_the_first_vertex(both):
    for part in both:
        assert part.triangles.min() == 5 and part.triangles.max() == 4 + part.size
        assert part.size == 9 * 13 and len(part.cells) == 2 * 8 * 12


def test_normals_point_outwards_and_agree(both):
    grid, mesh = (part.normals(_points()).reshape(*_SHAPE, 3)[1:-1, 1:-1] for part in both)
    assert (grid[..., 2] > 0.5).all()
    assert np.degrees(np.arccos((grid * mesh).sum(axis=-1).clip(-1, 1))).max() < 3.0


def test_a_hit_lies_at_the_same_place(both):
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 2 * 8 * 12, 50)
    uv = rng.dirichlet([1, 1, 1], 50)[:, 1:]
    grid, mesh = (np.stack(part.place(cells, uv)) for part in both)
    np.testing.assert_allclose(grid, mesh, atol=1e-4)


def test_even_light_stays_even(both):
    cells, uv = np.arange(20), np.full((20, 2), 0.3)
    for part in both:
        field = part.spread(np.full(len(part.samples), 0.7), 1.0)
        np.testing.assert_allclose(part.light(field, cells, uv), 0.7, atol=1e-5)


def test_a_coarser_grid_has_fewer_triangles_at_the_same_places():
    coarse = GridPart('grid', 'skin', 0, _SHAPE, column_stride=2)
    assert len(coarse.cells) == 2 * 8 * 6
    corner = coarse.triangles[:, 0]
    row, column = coarse.place(coarse.cells[::2], np.zeros((len(coarse.cells[::2]), 2)))
    np.testing.assert_allclose(row, corner[::2] // _SHAPE[1])
    np.testing.assert_allclose(column, corner[::2] % _SHAPE[1])


def test_an_eyeball_is_found_with_its_cornea_and_its_turn():
    rng = np.random.default_rng(1)
    ball = rng.standard_normal((400, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    cornea = ball[:, 2] > 0.9
    mean = 14.0 * ball * np.where(cornea, 1.1, 1.0)[:, None]
    triangles = np.arange(399).reshape(-1, 3)
    part = MeshPart('eye', 'eye', 0, mean, triangles)
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # To its left: +z becomes +x.
    center, radius, forward, _ = part.eyeball(mean @ turn.T + [30.0, 20.0, 700.0])
    np.testing.assert_allclose(center, [30.0, 20.0, 700.0], atol=1e-3)
    np.testing.assert_allclose(radius, 14.0, atol=1e-3)
    assert forward[0] > 0.98
