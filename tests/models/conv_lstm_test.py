import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.models.layers import conv
from seqface_jax.models.layers.conv_lstm import ConvLSTM, hard_sigmoid
from tests.helpers.compiling import quick_jit

FRAMES = jax.random.normal(jax.random.key(0), (2, 3, 9, 8, 3))


def init(module):
    return quick_jit(module.init)(jax.random.key(1), FRAMES)


def test_hard_sigmoid_is_that_of_keras_2():
    np.testing.assert_allclose(hard_sigmoid(jnp.array([-3.0, 0.0, 1.0, 3.0])), [0, 0.5, 0.7, 1])


def test_one_step_of_a_single_pixel_follows_the_formula():
    module = ConvLSTM(features=1, kernel=1)
    params = {'kernel': [[[[0.5, 1.0, 2.0, -1.0]]]], 'recurrent_kernel': [[[[1.0, 0.0, 1.0, 0.5]]]]}
    params = jax.tree.map(jnp.float32, params | {'bias': [0.0, 1.0, 0.0, 0.0]}, is_leaf=_is_list)
    state = (jnp.full((1, 1, 1, 1), 0.4), jnp.full((1, 1, 1, 1), 0.2))
    (c, h), outputs = quick_jit(module.apply)(
        {'params': {'cell': params}}, jnp.ones((1, 1, 1, 1, 1)), state
    )
    # Gates from z = 0.7, 2, 2.2, -0.9: i = 0.64, f = 0.9, o = 0.32.
    expected_c = 0.9 * 0.4 + 0.64 * np.tanh(2.2)
    np.testing.assert_allclose(c, expected_c, rtol=1e-6)
    np.testing.assert_allclose(h, 0.32 * np.tanh(expected_c), rtol=1e-6)
    np.testing.assert_array_equal(outputs[:, 0], h)


def test_only_the_input_convolution_is_strided():
    (c, h), outputs = jax.eval_shape(
        lambda: ConvLSTM(features=4, stride=2).init_with_output(jax.random.key(1), FRAMES)[0]
    )
    assert c.shape == h.shape == (2, 5, 4, 4)
    assert outputs.shape == (2, 3, 5, 4, 4)


def test_the_forget_gate_starts_open_and_the_recurrence_orthogonal():
    cell = init(ConvLSTM(features=4))['params']['cell']
    np.testing.assert_array_equal(cell['bias'].reshape(4, 4)[:, 0], [0, 1, 0, 0])
    recurrent = cell['recurrent_kernel'].reshape(-1, 16)
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(16), atol=1e-5)


def test_scanning_a_sequence_equals_stepping_through_it():
    module = ConvLSTM(features=4, stride=2)
    variables = init(module)
    apply = quick_jit(module.apply)
    final, outputs = apply(variables, FRAMES)
    state = jax.tree.map(jnp.zeros_like, final)
    for t in range(FRAMES.shape[1]):
        state, output = apply(variables, FRAMES[:, t : t + 1], state)
        np.testing.assert_allclose(outputs[:, t], output[:, 0], atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), final, state)


def test_rolled_and_unrolled_scans_agree_with_their_gradients():
    def loss(variables, scan_unroll):
        module = ConvLSTM(features=4, stride=2, scan_unroll=scan_unroll)
        return jnp.sum(jnp.sin(module.apply(variables, FRAMES)[1]))

    variables = init(ConvLSTM(features=4))
    rolled, unrolled = (
        quick_jit(jax.grad(loss), static_argnums=1)(variables, unroll) for unroll in (1, 3)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), rolled, unrolled
    )


@pytest.mark.parametrize('scan_unroll', [1, 3])
def test_a_late_gradient_of_the_kernels_equals_that_of_the_plain_scan(monkeypatch, scan_unroll):
    module = ConvLSTM(features=4, stride=2, scan_unroll=scan_unroll)
    variables = init(module)
    state = tuple(jax.random.normal(jax.random.key(i), (2, 5, 4, 4)) for i in (2, 3))

    def loss(variables, frames, state):
        (c, h), outputs = module.apply(variables, frames, state)
        return jnp.sum(jnp.sin(outputs)) + jnp.sum(c * h)

    def value_and_gradients(is_late):
        monkeypatch.setattr(ConvLSTM, 'is_kernel_late', lambda *args: is_late)
        run = quick_jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
        return run(variables, FRAMES, state)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        value_and_gradients(True),
        value_and_gradients(False),
    )


def test_kernels_are_late_where_they_outnumber_the_gates_of_a_frame():
    def is_late(side):
        module = ConvLSTM(features=8)
        x = jnp.zeros((1, 2, side, side, 8))
        return module.is_kernel_late(x, (jnp.zeros((1, side, side, 8)),) * 2)

    # 9 * 16 * 32 numbers in the kernels; 32 gates in each pixel.
    assert is_late(11)
    assert not is_late(12)


@pytest.mark.parametrize('shape', [(2, 5, 4, 6), (1, 20, 19, 3)])  # By matmul, and by XLA.
@pytest.mark.parametrize('stride', [1, 2])
def test_convolve_equals_the_convolution_of_xla(shape, stride):
    x = jax.random.normal(jax.random.key(0), shape)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, shape[-1], 7))
    expected = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
    np.testing.assert_allclose(conv.convolve(x, kernel, stride), expected, atol=1e-4)


def _is_list(value):
    return isinstance(value, list)
