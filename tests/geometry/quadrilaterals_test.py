import numpy as np

from seqface_jax.geometry import quadrilaterals


def test_halves_are_joined_and_a_triangle_between_them_stays():
    triangles = np.array([[0, 1, 2], [0, 2, 3], [7, 8, 9], [4, 5, 6], [4, 6, 7]])
    found = quadrilaterals.joined(triangles)
    np.testing.assert_array_equal(found, [[0, 1, 2, 3], [4, 5, 6, 7]])
    np.testing.assert_array_equal(quadrilaterals.without(triangles, found), [[7, 8, 9]])


def test_a_triangle_is_half_of_one_quadrilateral_only():
    fan = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]])
    found = quadrilaterals.joined(fan)
    np.testing.assert_array_equal(found, [[0, 1, 2, 3]])
    np.testing.assert_array_equal(quadrilaterals.without(fan, found), [[0, 3, 4]])


def test_a_mesh_of_triangles_has_no_quadrilaterals():
    triangles = np.array([[0, 1, 2], [2, 1, 3]])
    assert quadrilaterals.joined(triangles).shape == (0, 4)
    np.testing.assert_array_equal(
        quadrilaterals.without(triangles, np.zeros((0, 4), int)), triangles
    )
