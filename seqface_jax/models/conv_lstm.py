"""The convolutional LSTM of Keras: only its input convolution is strided."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqface_jax.models.conv import convolve

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
    def __call__(self, carry, x):
        """Returns the next (c, h) and h; each [B, H / stride, W / stride, features].

        Args:
            carry: (c, h).
            x: [B, H, W, C].
        """
        c, h = carry
        size = (self.kernel, self.kernel)
        glorot, orthogonal = nn.initializers.glorot_uniform(), nn.initializers.orthogonal()
        kernel = self.param('kernel', glorot, (*size, x.shape[-1], 4 * self.features))
        recurrent = self.param(
            'recurrent_kernel', orthogonal, (*size, h.shape[-1], kernel.shape[-1])
        )
        bias = self.param('bias', _forget_bias, kernel.shape[-1:])
        gate = RECURRENT_ACTIVATIONS[self.recurrent_activation]
        z = convolve(x, kernel, self.stride) + bias + convolve(h, recurrent)
        z_input, z_forget, z_cell, z_output = jnp.split(z, 4, axis=-1)
        c = gate(z_forget) * c + gate(z_input) * jnp.tanh(z_cell)
        h = gate(z_output) * jnp.tanh(c)
        return (c, h), h


class ConvLSTM(nn.Module):
    """Runs a ConvLSTMCell over the frames; any number of them under the same parameters.

    Attributes:
        features, kernel, stride, recurrent_activation: as of ConvLSTMCell.
        scan_unroll: frames per turn of the loop; 0: all of them on the CPU, one elsewhere.
        remat: compute the gates again in the backward pass, in place of keeping those of all
            frames: less memory, more time.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    recurrent_activation: str = 'hard_sigmoid'
    scan_unroll: int = 0
    remat: bool = False

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
            nn.remat(ConvLSTMCell, prevent_cse=False) if self.remat else ConvLSTMCell,
            variable_broadcast='params',
            split_rngs={'params': False},
            in_axes=1,
            out_axes=1,
            unroll=self.scan_unroll or default_unroll(x.shape[1]),
        )
        cell = scan(self.features, self.kernel, self.stride, self.recurrent_activation, name='cell')
        return cell(state, x)


def default_unroll(num_frames):
    """Returns the frames per turn of a loop over time that suit this machine."""
    on_cpu = jax.default_backend() == 'cpu'
    return num_frames if on_cpu and num_frames <= MAX_UNROLLED_FRAMES else 1


def _forget_bias(key, shape):
    """Starts with open forget gates: Jozefowicz et al., 2015, section 2.2."""
    del key
    return jnp.zeros(shape).at[shape[0] // 4 : shape[0] // 2].set(1.0)
