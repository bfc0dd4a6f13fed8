import numpy as np
import scipy.ndimage

from seqface_jax.geometry import sampling


def test_it_reads_as_scipy_does_and_the_edge_goes_on():
    rng = np.random.default_rng(0)
    image = rng.random((5, 7, 2)).astype(np.float32)
    row, column = rng.uniform(-2, 8, (2, 20, 30)).astype(np.float32)
    expected = [
        scipy.ndimage.map_coordinates(image[..., channel], (row, column), order=1, mode='nearest')
        for channel in range(2)
    ]
    found = sampling.read(image, row, column)
    np.testing.assert_allclose(found, np.stack(expected, axis=-1), atol=1e-5)
    np.testing.assert_allclose(sampling.read(image[..., 1], row, column), found[..., 1], atol=1e-6)
