"""Principal directions of image features, scaled alike: what gradient descent learns from quickly.

Neighbouring features rise and fall together; what tells two faces apart are small differences
between them. On the features themselves descent would need tens of thousands of steps to get at
these; in principal directions of equal variance it needs hundreds.
"""

import numpy as np

from seqface_jax.geometry import principal

EXACT_SIZE = 4096  # Largest Gram matrix that is decomposed whole; larger ones take LAPACK minutes.
OVERSAMPLING, POWER_ITERATIONS = 64, 8
ROUNDING = 1e-24  # Variance that is rounding, as a share of the mean's square.
NOISE = 0.003  # Variance that is taken for noise, of a direction's mean: smaller ones stay small.


def whiten(features, count):
    """Computes the mean of features and their largest principal directions.

    Args:
        features: [N, n], of N frames.
        count: R, of directions.

    Returns:
        mean [n] and directions [n, R], float32, such that (features - mean) @ directions has
        variance v / (v + noise) in a direction of variance v, the largest first; zeros beyond
        what the frames span: all are for a single frame, or for frames that are all alike.
    """
    features = np.asarray(features, np.float64)
    num_frames, size = features.shape
    mean = features.mean(axis=0)
    deviations = (features - mean) / np.sqrt(num_frames)
    noise = NOISE * np.square(deviations).sum() / size
    is_small = min(size, num_frames) <= EXACT_SIZE
    find = principal.eigenvectors if is_small else _eigenvectors_by_iteration
    variances, vectors = find(deviations, count)
    least = max(1e-9 * variances[0], ROUNDING * np.square(mean).sum())
    is_spanned = variances > least
    scales = np.sqrt(np.where(is_spanned, variances + noise, 1))
    directions = np.where(is_spanned, vectors / scales, 0)
    directions = np.pad(directions, ((0, 0), (0, count - directions.shape[1])))
    return mean.astype(np.float32), directions.astype(np.float32)


def _eigenvectors_by_iteration(deviations, count):
    """Finds nearly what principal.eigenvectors finds: subspace iteration from random vectors.

    Halko et al., 2011 (arXiv:0909.4061), algorithm 4.4.
    """
    deviations = deviations.astype(np.float32)
    width = min(count + OVERSAMPLING, *deviations.shape)
    random = np.random.default_rng(0).standard_normal((deviations.shape[1], width), np.float32)
    basis, _ = np.linalg.qr(random)
    for _ in range(POWER_ITERATIONS):
        basis, _ = np.linalg.qr(deviations.T @ (deviations @ basis))
    _, scale, rotation = np.linalg.svd(deviations @ basis, full_matrices=False)
    vectors = basis @ rotation.T
    return np.square(scale[:count].astype(np.float64)), vectors[:, :count].astype(np.float64)
