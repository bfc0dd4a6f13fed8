"""Principal components of a few long rows, by the smaller of their two Gram matrices."""

import numpy as np


def eigenvectors(rows, count):
    """Finds the largest eigenvalues of rows.T @ rows.

    Args:
        rows: [N, D], from zero, not from their mean.
        count: K, of eigenvalues.

    Returns:
        eigenvalues [min(K, N, D)], the largest first, and their vectors [D, min(K, N, D)], of
        length one; shorter where the rows span less.
    """
    of_columns = rows.shape[1] <= rows.shape[0]
    # The smaller Gram matrix has all the eigenvalues that are not zero.
    gram = rows.T @ rows if of_columns else rows @ rows.T
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    if not of_columns:
        vectors = rows.T @ vectors / np.sqrt(values.clip(1e-12))
    return values, vectors


def components(rows, count):
    """Returns the directions along which rows [N, D] vary most from zero, [count, D].

    Each is scaled to the rows' standard deviation along it; zeros beyond what the rows span.
    """
    values, vectors = eigenvectors(rows, count)
    found = (vectors * np.sqrt(values.clip(0) / len(rows))).T
    return np.pad(found, ((0, count - len(found)), (0, 0)))
