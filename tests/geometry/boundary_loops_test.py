import numpy as np

from seqface_jax.geometry.boundary_loops import boundary_loops


def test_a_square_with_a_square_hole_has_two_loops_in_its_triangles_direction():
    outer, inner = np.arange(4), np.arange(4, 8)
    a, b, c, d = outer, np.roll(outer, -1), np.roll(inner, -1), inner
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    loops = [loop.tolist() for loop in boundary_loops(triangles)]
    turned = sorted(loop[loop.index(min(loop)) :] + loop[: loop.index(min(loop))] for loop in loops)
    assert turned == [[0, 1, 2, 3], [4, 7, 6, 5]]


def test_a_closed_surface_has_none():
    assert boundary_loops(np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])) == []
