"""What all frames of a person get wrong alike, measured on made-up people whose faces are known.

The network draws what it does not see towards its mean face. So the shape that frames show is

    o = D z + c,    c ~ N(mu, S),

with the person's true coefficients z, a diagonal gain D and an error c that no further frame
averages out (seqface_jax/geometric_filter/information.py). o itself is hidden: frames say it with
information L and vector v. D, mu and S are found by expectation maximisation (Dempster et al.,
1977): the mean and covariance of each person's o, then the regression of o on z, and back.
"""

import numpy as np

from data_prep.hard_pictures import shape_space

_ROUNDS = 12
_PRIOR_PEOPLE = 100.0  # People with the mean gain, added to the regression of each coefficient.
_SHRINKAGE = 0.3  # Weight of the covariance's own diagonal in it.


def measure(informations, vectors, truths):
    """Finds gain, mean and covariance of the shared error.

    Args:
        informations: [N, K, K] what all frames of each person say.
        vectors: [N, K].
        truths: [N, K] true coefficients.

    Returns:
        gain [K], mean [K], covariance [K, K].
    """
    count, size = np.shape(truths)
    truths = np.asarray(truths, np.float64)
    gain, mean, covariance = np.full(size, 0.6), np.zeros(size), 0.5 * np.eye(size)
    centred = truths - truths.mean(0)
    squares = (centred**2).sum(0)
    for _ in range(_ROUNDS):
        inverse = np.linalg.inv(covariance)
        own = np.linalg.inv(inverse + informations)  # [N, K, K]
        expected = (gain * truths + mean) @ inverse + vectors
        shown = np.einsum('nij,nj->ni', own, expected)
        products = (centred * (shown - shown.mean(0))).sum(0)
        mean_gain = products.sum() / squares.sum()
        gain = (products + _PRIOR_PEOPLE * mean_gain) / (squares + _PRIOR_PEOPLE)
        mean = shown.mean(0) - gain * truths.mean(0)
        left = shown - gain * truths - mean
        covariance = own.mean(0) + left.T @ left / count
        diagonal = np.diag(np.diag(covariance))
        covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * diagonal
    return gain, mean, covariance


def coefficients(faces, mean, basis, near):
    """Returns the coefficients [N, K] of faces.

    Args:
        faces: [N, V, 3] mm.
        mean: [V, 3] mm, basis: [K, V, 3] mm, orthogonal.
        near: [V] bool, the vertices that say size and pose.
    """
    mean = np.asarray(mean, np.float64)
    flat = np.asarray(basis, np.float64).reshape(len(basis), -1)
    offsets = shape_space.normalised(np.asarray(faces, np.float64), mean, near) - mean
    return offsets.reshape(len(faces), -1) @ flat.T / np.square(flat).sum(1)
