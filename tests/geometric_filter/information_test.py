import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.errors import UserError
from seqface_jax.geometric_filter import information
from tests.helpers.compiling import quick_jit


def random_positive(rng, size, rank=None):
    factor = rng.normal(size=(size, rank or size))
    return factor @ factor.T


@pytest.mark.parametrize('gain', [np.ones(5), np.array([1.0, 0.5, 0.1, 0.0, 0.8])])
def test_the_posterior_equals_the_joint_gaussian_of_shape_and_shared_error(gain):
    rng = np.random.default_rng(0)
    mean, shared_covariance = rng.normal(size=5), random_positive(rng, 5)
    matrix, vector = random_positive(rng, 5, rank=3), rng.normal(size=5)
    vector = matrix @ vector  # What a singular information can say.
    both = np.linalg.inv(
        np.block([[np.eye(5), np.zeros((5, 5))], [np.zeros((5, 5)), shared_covariance]])
    )
    stacked = np.hstack([np.diag(gain), np.eye(5)])
    joint = both + stacked.T @ matrix @ stacked
    right = stacked.T @ vector + both @ np.concatenate([np.zeros(5), mean])
    shared = information.make_shared_error(mean, shared_covariance, gain)

    @quick_jit
    def posterior(matrix, vector):
        return information.person(information.observed(matrix, vector, shared), shared)

    answer = posterior(jnp.asarray(matrix, jnp.float32), jnp.asarray(vector, jnp.float32))
    np.testing.assert_allclose(answer.mean, np.linalg.solve(joint, right)[:5], atol=1e-3)
    np.testing.assert_allclose(answer.covariance, np.linalg.inv(joint)[:5, :5], atol=1e-4)


def test_what_is_neither_seen_nor_uncertain_is_refused():
    with pytest.raises(UserError, match='neither gain nor error'):
        information.make_shared_error(np.zeros(2), np.zeros((2, 2)), np.array([1.0, 0.0]))


def test_elimination_leaves_the_marginal_information():
    rng = np.random.default_rng(1)
    normal, right = random_positive(rng, 7) + np.eye(7), rng.normal(size=7)
    eliminate = quick_jit(lambda normal, right: information.eliminate(normal, right, 3))
    matrix, vector, coupling = eliminate(
        jnp.asarray(normal, jnp.float32), jnp.asarray(right, jnp.float32)
    )
    covariance = np.linalg.inv(normal)[:3, :3]
    np.testing.assert_allclose(matrix, np.linalg.inv(covariance), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        covariance @ vector, np.linalg.solve(normal, right)[:3], rtol=1e-3, atol=1e-3
    )
    expected = np.linalg.solve(normal[3:, 3:], normal[3:, :3])
    np.testing.assert_allclose(coupling, expected, rtol=1e-3, atol=1e-3)


def test_solving_holds_where_the_diagonal_spans_many_decades():
    rng = np.random.default_rng(2)
    scale = 10.0 ** np.arange(-4, 4)
    matrix = scale[:, None] * (random_positive(rng, 8) + np.eye(8)) * scale
    right = scale * rng.normal(size=8)
    solve = quick_jit(lambda matrix, right: information.solve(information.factor(matrix), right))
    found = solve(jnp.asarray(matrix, jnp.float32), jnp.asarray(right, jnp.float32))
    np.testing.assert_allclose(found * scale, np.linalg.solve(matrix, right) * scale, rtol=1e-2)


@pytest.mark.parametrize('size', [1, 16, 40, 100])
def test_a_lower_triangle_times_its_inverse_is_the_unit(size):
    lower = np.linalg.cholesky(random_positive(np.random.default_rng(3), size) + np.eye(size))
    found = np.asarray(quick_jit(information.inverse_of_lower)(jnp.asarray(lower, jnp.float32)))
    np.testing.assert_array_equal(np.triu(found, 1), 0)
    np.testing.assert_allclose(found @ lower, np.eye(size), atol=1e-4)


@pytest.mark.parametrize(
    'covariance, words',
    [
        (np.eye(3), 'same basis'),
        (-np.eye(2), 'positive'),
        (np.array([[1, 1], [0, 1]]), 'symmetric'),
    ],
)
def test_a_covariance_that_cannot_be_one_is_refused(covariance, words):
    with pytest.raises(UserError, match=words):
        information.make_shared_error(np.zeros(2), covariance)
