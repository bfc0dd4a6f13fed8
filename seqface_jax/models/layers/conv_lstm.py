"""The convolutional LSTM of Keras: only its input convolution is strided."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqface_jax.models.layers.conv import convolve

# A rolled scan over convolutions has a backward pass 8 to 10 times slower on the CPU (XLA runs
# convolutions inside loops on a slow path); unrolled code grows with T and is not worth compiling
# for the long sequences of an evaluation, which have no backward pass.
MAX_UNROLLED_FRAMES = 32


def hard_sigmoid(x):
    """The piecewise linear gate of Keras 2; `jax.nn.hard_sigmoid` and Keras 3 have slope 1/6."""
    return jnp.clip(0.2 * x + 0.5, 0, 1)


RECURRENT_ACTIVATIONS = {'hard_sigmoid': hard_sigmoid, 'sigmoid': jax.nn.sigmoid}


class ConvLSTMCell(nn.Module):
    """One step of a convolutional LSTM.

    Shi et al., 2015 (arXiv:1506.04214), eq. 3, without the peephole terms; gates in the order
    i, f, c, o and one bias, as Keras has them. Flax's own cell strides the state too.

    Attributes:
        features: channels of the state and of the output.
        kernel: side of both convolutions, in pixels.
        stride: of the input convolution, in pixels; the state keeps its size.
        recurrent_activation: of the gates, a name in RECURRENT_ACTIVATIONS.
    """

    features: int
    kernel: int
    stride: int
    recurrent_activation: str

    @nn.compact
    def __call__(self, carry, inputs):
        """Returns the next (c, h) and h; each [B, H / stride, W / stride, features].

        Args:
            carry: (c, h).
            inputs: x [B, H, W, C] and None, or None and what `convolve_input` makes of it.
        """
        (c, h), (x, z) = carry, inputs
        size, width = (self.kernel, self.kernel), 4 * self.features
        params = {}
        if z is None:
            glorot = nn.initializers.glorot_uniform()
            params['kernel'] = self.param('kernel', glorot, (*size, x.shape[-1], width))
        orthogonal = nn.initializers.orthogonal()
        recurrent = self.param('recurrent_kernel', orthogonal, (*size, h.shape[-1], width))
        if z is None:
            params['bias'] = self.param('bias', _forget_bias, (width,))
            z = convolve_input(params, x, self.stride)
        gate = RECURRENT_ACTIVATIONS[self.recurrent_activation]
        z = z + convolve(h, recurrent)
        z_input, z_forget, z_cell, z_output = jnp.split(z, 4, axis=-1)
        c = gate(z_forget) * c + gate(z_input) * jnp.tanh(z_cell)
        h = gate(z_output) * jnp.tanh(c)
        return (c, h), h


class ConvLSTM(nn.Module):
    """Runs a ConvLSTMCell over the frames; any number of them under the same parameters.

    Attributes:
        features, kernel, stride, recurrent_activation: as of ConvLSTMCell.
        scan_unroll: frames per turn of the loop; 0: all of them on the CPU, one elsewhere.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    recurrent_activation: str = 'hard_sigmoid'
    scan_unroll: int = 0

    @nn.compact
    def __call__(self, x, state=None):
        """Goes through x in order.

        Args:
            x: [B, T, H, W, C].
            state: (c, h) after the frame before x, or None at the start.

        Returns:
            The state after the last frame, and [B, T, H / stride, W / stride, features].
        """
        if state is None:
            height, width = (-(-size // self.stride) for size in x.shape[2:4])
            zeros = jnp.zeros((x.shape[0], height, width, self.features), x.dtype)
            state = (zeros, zeros)
        scan = nn.scan(
            ConvLSTMCell,
            variable_broadcast='params',
            split_rngs={'params': False},
            in_axes=1,
            out_axes=1,
            unroll=self.scan_unroll or default_unroll(x.shape[1]),
        )
        fields = (self.features, self.kernel, self.stride, self.recurrent_activation)
        cell = scan(*fields, name='cell')
        if self.is_initializing() or not self.is_kernel_late(x, state):
            return cell(state, (x, None))
        params = cell.variables['params']
        z = convolve_input(params, x.reshape(-1, *x.shape[2:]), self.stride)
        z = z.reshape(*x.shape[:2], *z.shape[1:])
        apply = scan(*fields, parent=None).apply

        def run(recurrent, state, z):
            return apply({'params': {'recurrent_kernel': recurrent}}, state, (None, z))

        return run_with_late_kernel(run, params['recurrent_kernel'], state, z)

    def is_kernel_late(self, x, state):
        """Whether `run_with_late_kernel` is the better form: it depends on what is larger.

        It keeps the gates of all frames, the plain form adds up kernels frame by frame. Measured
        on the CPU, and for a small image on a GPU: benchmarks/README.md.
        """
        kernel_size = self.kernel**2 * (x.shape[-1] + self.features) * 4 * self.features
        return kernel_size > 4 * state[0].size


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def run_with_late_kernel(run, recurrent, state, z):
    """Runs a ConvLSTM; the gradient of the recurrent kernel is that of one convolution.

    The derivative of a scan adds up the gradients of all frames, arrays of the kernel's size. Here
    the way back over time yields the gradient of z only, and one convolution of all frames after
    it that of the kernel; equal but for rounding.

    Args:
        run: a function of the other arguments that returns what `ConvLSTM` does.
        recurrent: [kernel, kernel, features, 4 * features].
        state: (c, h) before the first frame.
        z: [B, T, H / stride, W / stride, 4 * features], of `convolve_input`.
    """
    return run(recurrent, state, z)


def _run_forward(run, recurrent, state, z):
    outputs, backward = jax.vjp(functools.partial(run, recurrent), state, z)
    h = jnp.concatenate([state[1][:, None], outputs[1][:, :-1]], axis=1)  # Before each frame.
    return outputs, (backward, recurrent, h)


def _run_backward(run, residuals, gradients):
    del run
    backward, recurrent, h = residuals
    d_state, dz = backward(gradients)
    h, folded_dz = (array.reshape(-1, *array.shape[2:]) for array in (h, dz))
    (d_recurrent,) = jax.vjp(functools.partial(convolve, h), recurrent)[1](folded_dz)
    return d_recurrent, d_state, dz


run_with_late_kernel.defvjp(_run_forward, _run_backward)


def convolve_input(params, x, stride):
    """Returns what frames add to the gates, [N, H / stride, W / stride, 4 * features]."""
    return convolve(x, params['kernel'], stride) + params['bias']


def default_unroll(num_frames):
    """Returns the frames per turn of a loop over time that suit this machine."""
    on_cpu = jax.default_backend() == 'cpu'
    return num_frames if on_cpu and num_frames <= MAX_UNROLLED_FRAMES else 1


def _forget_bias(key, shape):
    """Starts with open forget gates: Jozefowicz et al., 2015, section 2.2."""
    del key
    return jnp.zeros(shape).at[shape[0] // 4 : shape[0] // 2].set(1.0)
