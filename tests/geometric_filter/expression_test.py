import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import lsq_linear

from seqface_jax.geometric_filter import expression


def blendshapes(rng):
    return rng.normal(size=(12, 30, 3)) * rng.uniform(0.5, 2, (12, 1, 1))


def test_weights_of_a_displacement_that_blendshapes_make_are_found():
    rng = np.random.default_rng(0)
    shapes, weights = blendshapes(rng), rng.uniform(0, 1, 12) * (rng.uniform(size=12) < 0.5)
    found = expression.blendshape_weights(jnp.tensordot(weights, shapes, 1), jnp.asarray(shapes))
    np.testing.assert_allclose(found, weights, atol=0.01)


def test_weights_equal_bounded_least_squares():
    rng = np.random.default_rng(1)
    shapes, displacement = blendshapes(rng), 2 * rng.normal(size=(30, 3))
    expected = lsq_linear(shapes.reshape(12, -1).T, displacement.ravel(), (0, 1)).x
    found = expression.blendshape_weights(jnp.asarray(displacement), jnp.asarray(shapes))
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert found.min() >= 0 and found.max() <= 1


def test_a_blendshape_that_no_point_shows_stays_at_zero_and_gradients_are_finite():
    rng = np.random.default_rng(2)
    shapes = jnp.asarray(blendshapes(rng)).at[3].set(0)
    displacement = jnp.asarray(rng.normal(size=(30, 3)))
    assert float(expression.blendshape_weights(displacement, shapes)[3]) == 0
    gradient = jax.grad(lambda d: expression.blendshape_weights(d, shapes).sum())(displacement)
    assert np.isfinite(gradient).all()


def test_weights_go_by_their_names():
    weights = jnp.array([0.5, 0.25])
    assert expression.by_name(('jawOpen', 'smile'), weights) == {'jawOpen': 0.5, 'smile': 0.25}
    with pytest.raises(ValueError):
        expression.by_name(('jawOpen',), weights)


def test_a_displacement_is_the_mean_and_the_weighted_sum():
    mean, shapes = np.ones((4, 3)), np.arange(24.0).reshape(2, 4, 3)
    found = expression.expression_displacement(jnp.array([2.0, 1.0]), mean, shapes)
    np.testing.assert_allclose(found, mean + 2 * shapes[0] + shapes[1])


def test_a_correction_adds_what_is_linear_in_expression_and_shape_and_a_constant():
    correction = np.zeros((2, 2 + 3 + 1))
    correction[0, 1], correction[1, 4], correction[1, 5] = 0.5, -2.0, 0.25
    found = expression.corrected(jnp.array([1.0, 2.0]), jnp.array([0.0, 0.0, 3.0]), correction)
    np.testing.assert_allclose(found, [1 + 0.5 * 2, 2 - 2.0 * 3 + 0.25])
