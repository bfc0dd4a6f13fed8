import numpy as np

from seqface_jax.reconstruction import smooth_fill


def test_filling_keeps_what_is_known_and_continues_it():
    values = np.zeros((16, 16, 1))
    values[:, :4] = 7
    known = np.zeros((16, 16))
    known[:, :4] = 1
    np.testing.assert_allclose(smooth_fill.fill(values, known), 7, atol=1e-4)
