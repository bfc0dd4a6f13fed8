import numpy as np

from seqface_jax.models import r2n2
from seqface_jax.models.layers import conv3d
from tests.helpers.compiling import quick_jit


def _grid_and_kernel(size=3):
    rng = np.random.default_rng(0)
    grid, kernel = rng.normal(size=(2, size, size, size, 4)), rng.normal(size=(3, 3, 3, 4, 5))
    return grid.astype(np.float32), kernel.astype(np.float32)


def test_small_and_large_grids_take_their_forms_of_one_convolution(monkeypatch):
    grid, kernel = _grid_and_kernel()
    expected = quick_jit(conv3d.convolve_volumes)(grid, kernel)
    for most in (conv3d.MAX_MATMUL_CELLS, 0):
        monkeypatch.setattr(conv3d, 'MAX_MATMUL_CELLS', most)
        found = quick_jit(lambda *arrays: conv3d.convolve(*arrays))(grid, kernel)  # Traced anew.
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_slices_equal_the_3d_convolution_for_any_side_of_the_kernel():
    grid, _ = _grid_and_kernel()
    for side in (1, 3, 5):
        kernel = np.random.default_rng(side).normal(size=(side, side, side, 4, 2))
        kernel = kernel.astype(np.float32)
        expected = quick_jit(conv3d.convolve_volumes)(grid, kernel)
        np.testing.assert_allclose(conv3d.convolve_slices(grid, kernel), expected, atol=1e-4)


def test_enlarging_without_the_zeros_equals_convolving_the_zeros():
    grid, kernel = _grid_and_kernel()
    expected = quick_jit(lambda g, k: conv3d.convolve(r2n2.insert_zeros(g), k))(grid, kernel)
    found = quick_jit(conv3d.convolve_enlarged)(grid, kernel)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_zeros_come_after_every_cell():
    grid = np.arange(8.0).reshape(1, 2, 2, 2, 1)
    enlarged = np.asarray(r2n2.insert_zeros(grid))
    np.testing.assert_array_equal(enlarged[:, ::2, ::2, ::2], grid)
    assert enlarged.sum() == grid.sum()
