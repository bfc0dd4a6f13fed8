import numpy as np
import pytest

from seqface_jax.geometry import principal


@pytest.mark.parametrize('num_rows', [4, 60])  # Fewer and more than there are columns.
def test_components_are_those_of_the_singular_values(num_rows):
    rows = np.random.default_rng(0).normal(size=(num_rows, 9)) * np.arange(1, 10)
    _, singular, directions = np.linalg.svd(rows, full_matrices=False)
    found = principal.components(rows, 3)
    expected = singular[:3, None] / np.sqrt(num_rows) * directions[:3]
    signs = np.sign((found * expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, signs * expected, atol=1e-9)


def test_beyond_what_the_rows_span_there_are_zeros():
    found = principal.components(np.array([[3.0, 0, 4], [-3.0, 0, -4]]), 3)
    np.testing.assert_allclose(np.abs(found), [[3, 0, 4], [0, 0, 0], [0, 0, 0]], atol=1e-5)


def test_eigenvectors_have_length_one_and_the_largest_comes_first():
    rows = np.random.default_rng(1).normal(size=(5, 40))
    values, vectors = principal.eigenvectors(rows, 4)
    assert (np.diff(values) < 0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(rows.T @ (rows @ vectors), values * vectors, atol=1e-9)
