import numpy as np

from data_prep.package_files import shared_error


def test_gain_mean_and_covariance_are_found_again():
    rng = np.random.default_rng(0)
    people, size = 6000, 5
    gain, mean = np.array([0.9, 0.5, 0.2, 0.7, 0.4]), np.array([0.3, -0.5, 0.0, 0.2, 0.1])
    factor = 0.3 * rng.normal(size=(size, size))
    covariance = factor @ factor.T
    truths = rng.normal(size=(people, size))
    shown = gain * truths + mean + rng.normal(size=(people, size)) @ factor.T
    informations, vectors = [], []
    for one in shown:  # Some directions are measured well, some hardly.
        rows = rng.normal(size=(8, size)) * np.array([5.0, 4.0, 3.0, 2.0, 1.0])
        informations.append(rows.T @ rows)
        vectors.append(rows.T @ (rows @ one + rng.normal(size=8)))
    found = shared_error.measure(np.array(informations), np.array(vectors), truths)
    np.testing.assert_allclose(found[0], gain, atol=0.06)
    np.testing.assert_allclose(found[1], mean, atol=0.06)
    np.testing.assert_allclose(np.diag(found[2]), np.diag(covariance), atol=0.08)


def test_coefficients_do_not_depend_on_size_and_pose():
    rng = np.random.default_rng(1)
    mean = rng.normal(size=(40, 3)) * 50
    basis = np.linalg.qr(rng.normal(size=(120, 3)))[0].T.reshape(3, 40, 3)
    truth = np.array([[1.0, -2.0, 0.5]])
    face = mean + np.tensordot(truth[0], basis, 1)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    near = np.ones(40, bool)
    one, other = (
        shared_error.coefficients(faces, mean, basis, near)
        for faces in (face[None], 1.3 * face[None] @ turn + 7.0)
    )
    np.testing.assert_allclose(one, other, atol=1e-6)
    nothing = shared_error.coefficients(0.7 * mean[None] @ turn - 3.0, mean, basis, near)
    np.testing.assert_allclose(nothing, 0, atol=1e-6)
    assert np.abs(one).max() > 0.3
