import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import bu4dfe_thesis, default
from seqface_jax.errors import UserError
from seqface_jax.training import optimizers


def run(tx, gradients, params=0.0):
    """Returns the parameter after each gradient."""
    params, after = jnp.float32(params), []
    state = tx.init(params)
    for gradient in gradients:
        updates, state = tx.update(jnp.float32(gradient), state, params)
        params = optax.apply_updates(params, updates)
        after.append(float(params))
    return after


def keras_formula(gradients, learning_rate=1e-4, b1=0.9, b2=0.999, eps=1e-7):
    p, m, v, after = 0.0, 0.0, 0.0, []
    for t, g in enumerate(gradients, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        p -= learning_rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
        after.append(p)
    return after


def test_adam_follows_the_formula_of_keras_for_large_and_tiny_gradients():
    tx = optimizers.create(bu4dfe_thesis.get_config().optimizer, steps_per_epoch=100)
    for size in (1.0, 1e-3, 1e-6, 1e-8):
        gradients = size * np.random.default_rng(0).standard_normal(20)
        np.testing.assert_allclose(run(tx, gradients), keras_formula(gradients), rtol=1e-4)


def test_three_gradients_of_a_millionth_move_it_as_keras_and_not_as_optax():
    tx = optimizers.create(bu4dfe_thesis.get_config().optimizer, steps_per_epoch=100)
    np.testing.assert_allclose(run(tx, 3 * [1e-6])[-1], -9.03e-5, rtol=1e-3)
    assert run(optax.adam(1e-4), 3 * [1e-6])[-1] < -2.9e-4


@pytest.mark.slow
def test_adam_equals_that_of_live_keras():
    from tests.helpers.keras_reference import keras  # Takes half a second to import.

    gradients = np.float32(1e-6) * np.random.default_rng(1).standard_normal(10, np.float32)
    variable = keras.Variable(0.0)
    adam = keras.optimizers.Adam(learning_rate=1e-4)
    adam.build([variable])
    expected = []
    for gradient in gradients:
        adam.apply([jnp.float32(gradient)])
        expected.append(float(variable.value))
    tx = optimizers.create(bu4dfe_thesis.get_config().optimizer, steps_per_epoch=100)
    np.testing.assert_allclose(run(tx, gradients), expected, rtol=1e-4)


def rate_of(steps_per_epoch, **changes):
    """Returns the schedule of a rate that starts at 1."""
    config = default.get_config().optimizer
    config.update(learning_rate=1.0, **changes)
    return optimizers.schedule(config, steps_per_epoch)


def test_the_rate_halves_after_epochs_11_and_21():
    rate = rate_of(4, decay_factor=0.5, decay_every_epochs=10)
    rates = [float(rate(jnp.int32(4 * epoch + 3))) for epoch in range(33)]
    np.testing.assert_array_equal(rates, 11 * [1.0] + 10 * [0.5] + 10 * [0.25] + 2 * [0.125])
    assert float(rate(44)) == 0.5


def test_a_decay_every_0_epochs_is_none():
    assert float(rate_of(4, decay_every_epochs=0)(jnp.int32(10_000))) == 1


def test_clipping_bounds_the_gradient_and_weight_decay_pulls_to_zero():
    config = default.get_config().optimizer
    config.update(name='adam', clip_norm=1.0, weight_decay=0.1, learning_rate=0.01)
    tx = optimizers.create(config, steps_per_epoch=10)
    state = tx.init(jnp.float32(2.0))
    updates, _ = tx.update(jnp.float32(0.0), state, jnp.float32(2.0))
    np.testing.assert_allclose(updates, -0.01 * 0.1 * 2.0, rtol=1e-5)
    state = tx.init(jnp.zeros(2))
    _, state = tx.update(jnp.array([30.0, 40.0]), state, jnp.zeros(2))
    moment = next(s.mu for s in jax.tree.leaves(state, is_leaf=_has_moment) if _has_moment(s))
    np.testing.assert_allclose(moment, [0.06, 0.08], rtol=1e-5)  # 0.1 of 0.6 and 0.8.


def _has_moment(state):
    return hasattr(state, 'mu')


def test_l2_pulls_on_weights_and_not_on_biases():
    config = default.get_config().optimizer
    config.update(l2=0.1, clip_norm=0.0, learning_rate=1e-2)
    params = {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}
    tx = optimizers.create(config, 10)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    np.testing.assert_allclose(updates['kernel'], -1e-2, rtol=1e-4)  # Adam's step has one size.
    np.testing.assert_allclose(updates['bias'], 0)


def test_the_rate_falls_at_the_steps_that_are_named():
    rate = rate_of(10, decay_factor=0.1, decay_every_epochs=0, decay_at_steps=(20, 60))
    found = [float(rate(jnp.int32(step))) for step in (0, 19, 20, 59, 60)]
    np.testing.assert_allclose(found, [1, 1, 0.1, 0.1, 0.01], rtol=1e-5)


def test_muon_turns_as_far_in_every_direction_of_a_matrix_and_leaves_the_rest_to_adam():
    config = default.get_config().optimizer
    config.update(name='muon', learning_rate=0.01, decay_every_epochs=0, clip_norm=0.0)
    rng = np.random.default_rng(0)
    rows, columns = np.linalg.qr(rng.standard_normal((18, 4)))[0], np.eye(4)
    strengths = np.array([8.0, 4.0, 2.0, 1.0])
    kernel = ((rows * strengths) @ columns).reshape(3, 3, 2, 4)
    large = (optimizers._LARGEST_SIDE + 1, optimizers._LARGEST_SIDE + 2)
    gradients = {'kernel': kernel, 'bias': np.array([1.0, 5.0]), 'large': np.ones(large)}
    gradients = jax.tree.map(jnp.float32, gradients)
    params = jax.tree.map(jnp.zeros_like, gradients)
    tx = optimizers.create(config, 10)
    updates, _ = jax.jit(tx.update)(gradients, jax.jit(tx.init)(params), params)
    found = np.linalg.svd(updates['kernel'].reshape(18, 4), compute_uv=False)
    # 0.2 of the rate is the root mean square of Adam's steps.
    np.testing.assert_allclose(found, 0.01 * 0.2 * np.sqrt(18), rtol=0.3)
    for name in ('bias', 'large'):
        assert np.ptp(updates[name]) < 1e-6 and -0.02 < updates[name].min() < -0.01


def test_an_optimizer_that_does_not_exist_is_refused():
    config = default.get_config().optimizer
    config.name = 'lion'
    with pytest.raises(UserError, match="no optimizer.name 'lion': choose of adam, keras_adam"):
        optimizers.create(config, 10)
