import types

import numpy as np
import pytest

from data_prep.package_files import calibrate
from seqface_jax.geometric_filter import belief, information, point_fit


@pytest.mark.parametrize(
    ('scores', 'chosen'),
    [((0.785, 0.793, 0.815), 1), ((0.78, 0.80, 0.82), 0), ((0.82, 0.80, 0.805), 2)],
)
def test_of_what_is_as_good_points_count_for_the_least(scores, chosen):
    tried = [(score, number) for number, score in enumerate(scores)]
    assert calibrate.most_careful(tried) == tried[chosen]


def test_what_is_said_answers_as_the_state_does():
    rng = np.random.default_rng(0)
    state, root = belief.initial_state(5, 4), rng.normal(size=(5, 9))
    state.information[:2], state.vector[:2] = root @ root.T, rng.normal(size=(2, 5))
    state.count[:2] = 1, 3
    shared = information.make_shared_error(rng.normal(size=5), 0.2 * np.eye(5), np.tri(5))
    settings = point_fit.FitSettings()
    stream = types.SimpleNamespace(
        geometry=types.SimpleNamespace(
            settings=settings, shared=shared, basis=types.SimpleNamespace(mean=np.zeros(3))
        ),
        vertices=lambda posterior: posterior.mean,
        deviation=lambda posterior: posterior.covariance,
    )
    expected = belief.posterior(state, shared, settings)
    mean, covariance = calibrate.read(stream, calibrate.said(stream, state))
    np.testing.assert_allclose(mean, expected.mean[:3], atol=1e-5)
    np.testing.assert_allclose(covariance, expected.covariance[:3], atol=1e-5)
