import jax
import numpy as np

from seqface_jax.models import r2n2
from seqface_jax.models.layers import conv3d


def _grid_and_kernel(size=3):
    grid = jax.random.normal(jax.random.key(0), (2, size, size, size, 4))
    return grid, jax.random.normal(jax.random.key(1), (3, 3, 3, 4, 5))


def test_the_matrix_product_equals_the_convolution(monkeypatch):
    grid, kernel = _grid_and_kernel()
    product = conv3d.convolve(grid, kernel)
    monkeypatch.setattr(conv3d, 'MAX_MATMUL_CELLS', 0)
    np.testing.assert_allclose(product, conv3d.convolve(grid, kernel), atol=1e-4)


def test_enlarging_without_the_zeros_equals_convolving_the_zeros():
    grid, kernel = _grid_and_kernel()
    expected = conv3d.convolve(r2n2.insert_zeros(grid), kernel)
    np.testing.assert_allclose(conv3d.convolve_enlarged(grid, kernel), expected, atol=1e-4)


def test_zeros_come_after_every_cell():
    grid = np.arange(8.0).reshape(1, 2, 2, 2, 1)
    enlarged = np.asarray(r2n2.insert_zeros(grid))
    np.testing.assert_array_equal(enlarged[:, ::2, ::2, ::2], grid)
    assert enlarged.sum() == grid.sum()
