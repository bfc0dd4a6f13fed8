import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.geometry import map_grid, vectors


@pytest.mark.parametrize('xp', [np, jnp])
def test_a_vector_of_3_4_0_has_the_unit_vector_06_08_0_and_zeros_stay(xp):
    found = vectors.unit(xp.asarray([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]], xp.float32))
    np.testing.assert_allclose(found, [[0.6, 0.8, 0], [0, 0, 0]], rtol=1e-6)
    assert isinstance(found, np.ndarray) == (xp is np) and found.dtype == np.float32


@pytest.mark.parametrize('find', [vectors.azimuth_elevation, jax.jit(vectors.azimuth_elevation)])
def test_the_rays_of_the_map_have_the_angles_of_its_columns_and_rows(find):
    azimuth, elevation = find(np.float32(map_grid.ray_directions(16)))
    expected = np.broadcast_arrays(*map_grid.ray_angles(16))
    np.testing.assert_allclose(azimuth, expected[0], atol=1e-6)
    np.testing.assert_allclose(elevation, expected[1], atol=1e-6)


def test_the_left_is_at_90_degrees_and_straight_up_too():
    azimuth, elevation = vectors.azimuth_elevation(np.array([[2.0, 0, 0], [0, 5.0, 0], [0, 0, -1]]))
    np.testing.assert_allclose(np.degrees(azimuth), [90, 0, 180], atol=1e-12)
    np.testing.assert_allclose(np.degrees(elevation), [0, 90, 0], atol=1e-12)
