import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax import models
from seqface_jax.models import r2n2
from seqface_jax.models.fields import ModelConfigError


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _inputs(cell_class, shape):
    values = zip(cell_class.GATES, (0.3, -0.2, 0.7), strict=True)
    return {name: jnp.full(shape, x) for name, x in values}


def _cell(cell_class, state, inputs):
    """Runs a cell of 1 channel whose kernels are 0 but for the middle, 2, and bias 0.1."""
    cell = cell_class(features=1, kernel=1)
    variables = cell.init(jax.random.key(0), state, inputs)
    variables = jax.tree.map(lambda leaf: jnp.full_like(leaf, 2 if leaf.ndim > 1 else 0.1),
                             variables)  # fmt: skip
    return cell.apply(variables, state, inputs)[0]


def test_the_gru_is_that_of_the_published_code():
    h, shape = 0.5, (1, 4, 4, 4, 1)
    inputs = {
        name: jnp.full(shape, x)
        for name, x in zip(r2n2.GRUCell.GATES, (0.3, -0.2, 0.7), strict=True)
    }
    update, reset = _sigmoid(0.3 + 2 * h + 0.1), _sigmoid(-0.2 + 2 * h + 0.1)
    expected = update * h + (1 - update) * np.tanh(0.7 + 2 * reset * h + 0.1)
    state = _cell(r2n2.GRUCell, jnp.full(shape, h), inputs)
    np.testing.assert_allclose(state, np.full(shape, expected), rtol=1e-5)


def test_the_lstm_has_no_output_gate():
    s, h, shape = 0.4, 0.5, (1, 4, 4, 4, 1)
    inputs = {
        name: jnp.full(shape, x)
        for name, x in zip(r2n2.LSTMCell.GATES, (0.3, -0.2, 0.7), strict=True)
    }
    forget, into = _sigmoid(0.3 + 2 * h + 0.1), _sigmoid(-0.2 + 2 * h + 0.1)
    expected = forget * s + into * np.tanh(0.7 + 2 * h + 0.1)
    memory, hidden = _cell(r2n2.LSTMCell, (jnp.full(shape, s), jnp.full(shape, h)), inputs)
    np.testing.assert_allclose(memory, np.full(shape, expected), rtol=1e-5)
    np.testing.assert_allclose(hidden, np.tanh(memory), rtol=1e-5)


def test_every_cell_has_its_own_weights_for_a_view():
    model = models.create({'name': 'r2n2', 'recurrence': 'gru'}, 127)
    frames = jnp.zeros((1, 1, 127, 127, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), frames, train=False))
    assert variables['params']['update_input']['kernel'].shape == (1024, 4**3 * 128)
    assert variables['params']['code']['kernel'].shape == (3 * 3 * 256, 1024)


def test_wrong_fields_are_named():
    with pytest.raises(ModelConfigError, match='model.recurrence'):
        models.create({'name': 'r2n2', 'recurrence': 'rnn'}, 127)
    with pytest.raises(ModelConfigError, match='encoder_features must hold 6'):
        models.create({'name': 'r2n2', 'recurrence': 'gru', 'encoder_features': (1, 2)}, 127)
