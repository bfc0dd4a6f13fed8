from types import SimpleNamespace

import numpy as np

from data_prep.package_files import expression_correction
from seqface_jax.geometric_filter import expression


def _geometry(rng, num_shapes=6, num_points=40):
    """Expressions that are a fifth of a blendshape each: coefficients of about unit variance."""
    shapes = rng.normal(size=(num_shapes, num_points, 3))
    return SimpleNamespace(
        shapes_at_points=shapes,
        point_blendshapes=shapes,
        expressions=np.eye(num_shapes) / 5,
        expression_mean=np.zeros(num_shapes),
    )


def test_coefficients_of_movements_that_mixtures_make_are_theirs():
    rng = np.random.default_rng(0)
    mean, mixtures = rng.normal(size=(30, 3)), rng.normal(size=(4, 30, 3))
    wanted = rng.normal(size=(5, 4))
    movements = mean + np.tensordot(wanted, mixtures, 1)
    found = expression_correction.true_coefficients(movements, mean, mixtures)
    np.testing.assert_allclose(found, wanted, atol=0.01)


def test_what_the_filter_takes_for_shape_is_given_back_to_the_expression():
    rng = np.random.default_rng(1)
    geometry = _geometry(rng)
    true = 5 * rng.uniform(0, 1, (3000, 6)) * (rng.uniform(size=(3000, 6)) < 0.4)
    leak = rng.normal(size=(6, 3))
    found = 0.5 * true + 0.1 * rng.normal(size=true.shape)
    off = true @ leak + 0.1 * rng.normal(size=(3000, 3))
    movements = np.tensordot(true / 5, geometry.shapes_at_points, 1)
    learnt = slice(0, 2000)
    correction = expression_correction.measure(
        found[learnt], off[learnt], movements[learnt], geometry
    )
    assert correction.shape == (6, 6 + 3 + 1)
    left = np.array(
        [
            expression.corrected(one, shape_off, correction) - wanted
            for one, shape_off, wanted in zip(found[2000:], off[2000:], true[2000:], strict=True)
        ]
    )
    assert np.abs(left).mean() < 0.25 * np.abs(found[2000:] - true[2000:]).mean()


def test_an_expression_that_is_found_as_it_is_stays():
    rng = np.random.default_rng(2)
    geometry = _geometry(rng)
    true = 5 * rng.uniform(0, 0.9, (2000, 6))
    movements = np.tensordot(true / 5, geometry.shapes_at_points, 1)
    correction = expression_correction.measure(true, np.zeros((2000, 2)), movements, geometry)
    np.testing.assert_allclose(correction, 0, atol=0.06)
