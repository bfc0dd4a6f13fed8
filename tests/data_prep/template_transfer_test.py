import numpy as np
import pytest

from data_prep.synthetic import template_transfer

_ROWS, _COLUMNS = 41, 41
_HILLS = (((0, 0), 18, 8), ((-25, 20), 6, 9), ((25, 20), 6, 9), ((0, -28), 5, 7))  # Place, mm.
_CORNERS = ((-45, -45), (45, -45), (-45, 45), (45, 45))


def _grid(rows, columns, low=-50.0, high=50.0):
    """Returns x, y of a grid in mm and its triangles, which face +z."""
    x, y = np.meshgrid(np.linspace(low, high, columns), np.linspace(low, high, rows))
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (
        k.ravel() for k in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    )
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return x.ravel(), y.ravel(), triangles


def _bumps(x, y):
    """Returns a surface with a nose and some hills, [N, 3] mm."""
    z = 60.0 - 0.006 * (x**2 + y**2)
    for at, height, width in (
        ((0, 0), 18, 8),
        ((-25, 20), 6, 9),
        ((25, 20), 6, 9),
        ((0, -28), 5, 7),
    ):
        z = z + height * np.exp(-0.5 * ((x - at[0]) ** 2 + (y - at[1]) ** 2) / width**2)
    return np.stack([x, y, z], axis=1)


def _warp(points):
    """Returns the points moved smoothly, by up to about 6 mm."""
    x, y, z = points.T
    moved = [x + 4 * np.sin(y / 40), y + 3 * np.cos(x / 45), z + 3 * np.sin((x + y) / 50)]
    return np.stack(moved, axis=1)


def _registered(**options):
    """Registers the bumpy surface to a warped, finer copy; returns Binding, places and target."""
    x, y, triangles = _grid(_ROWS, _COLUMNS)
    template = _bumps(x, y)
    fine_x, fine_y, fine_triangles = _grid(90, 90, -58.0, 58.0)
    target_vertices = _warp(_bumps(fine_x, fine_y))
    target = template_transfer.CastSurface(target_vertices, fine_triangles)
    truth = _warp(template)
    marks = [
        int(np.argmin(np.hypot(x - a, y - b)))
        for a, b in (
            (0, 0),
            (-25, 20),
            (25, 20),
            (0, -28),
            (-45, -45),
            (45, -45),
            (-45, 45),
            (45, 45),
        )
    ]
    binding = template_transfer.transfer(
        template, triangles, target, np.array(marks), truth[marks], **options
    )
    return binding, truth, target_vertices


@pytest.fixture(name='registered', scope='module')
def _registered_once():
    return _registered()


def test_a_warped_copy_is_found_vertex_by_vertex_to_a_mm(registered):
    binding, truth, target_vertices = registered
    error = np.linalg.norm(binding.carry(target_vertices) - truth, axis=1)
    assert error.mean() < 0.6
    assert np.percentile(error, 95) < 1.5


def test_vertices_lie_on_the_target_and_move_with_it(registered):
    binding, _, target_vertices = registered
    assert binding.bound.mean() > 0.99
    field = np.cos(target_vertices / 30.0)
    moved = binding.carry(target_vertices + field) - binding.carry(target_vertices)
    np.testing.assert_allclose(moved, binding.matrix(len(field)) @ field, atol=1e-9)
    np.testing.assert_allclose(binding.weights.sum(axis=1), 1.0, atol=1e-6)


def test_a_pocket_that_the_target_lacks_becomes_a_film_and_stays_off_the_surface():
    x, y, _ = _grid(_ROWS, _COLUMNS)
    pocket = np.hypot(x - 10, y - 5) < 6.0
    binding, truth, target_vertices = _registered(closed=pocket)
    assert not binding.bound[pocket].any()
    assert np.linalg.norm(binding.carry(target_vertices) - truth, axis=1)[pocket].max() < 3.0
