"""3D-R2N2: views in, one by one, into a grid of memory cells; voxels of the face out.

Choy et al., 2016 (arXiv:1604.00449), with the details of its published code. Each of 4 x 4 x 4
cells has its own weights for what a view says, and sees its neighbours' states; zero-insertions and
3D convolutions bring the grid to 32 x 32 x 32 cells, each inside the face or not.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqface_jax.geometry import voxels
from seqface_jax.models import fields
from seqface_jax.models.layers.conv3d import convolve, convolve_enlarged
from seqface_jax.models.layers.conv_lstm import default_unroll
from seqface_jax.models.prediction import Prediction, Voxels
from seqface_jax.models.sequence_model import SequenceModel, unfold

GRID = 4  # Cells along a side of the memory.
NUM_VOXELS = 32  # Along a side of the answer.
MAP_SIDE = 32  # Side of the position map that is cast from the voxels.
GATE_BIAS = 0.1  # At the start; all other biases too.
_SLOPE = 0.01  # Slope of the rectifier below 0.
_FIRST_KERNEL = 7
# Blocks of the residual encoder: how its input is added to what two convolutions make of it.
_SHORTCUTS = (None, 'conv', 'conv', None, 'conv', 'identity')
_msra = nn.initializers.variance_scaling(2.0, 'fan_avg', 'normal')


class R2N2(SequenceModel, kw_only=True):
    """Predicts voxels after every view of a sequence, of any length.

    Attributes:
        recurrence: 'gru' or 'lstm'.
        residual: whether encoder and decoder have two convolutions per block and shortcuts.
        encoder_features: channels of the six encoder blocks.
        code_features: of the layer that describes a view.
        state_features: channels of the memory.
        decoder_features: channels of the four decoder stages.
        recurrent_kernel: side of the gates' convolution over the state, in cells.
        surface_level: probability of the surface; 0.5 is unbiased in mm, the original exports
            meshes at 0.3 and counts a cell as inside from 0.4.
    """

    recurrence: str
    residual: bool = False
    encoder_features: Sequence[int] = (96, 128, 256, 256, 256, 256)
    code_features: int = 1024
    state_features: int = 128
    decoder_features: Sequence[int] = (128, 128, 64, 32)
    recurrent_kernel: int = 3
    surface_level: float = 0.5

    @classmethod
    def check_fields(cls, values):
        """Checks the fields of a config; raises ModelConfigError."""
        super().check_fields(values)
        fields.choose(CELLS, values['recurrence'], 'model.recurrence')
        for name, count in (('encoder_features', len(_SHORTCUTS)), ('decoder_features', 4)):
            if len(values.get(name, getattr(cls, name, ()))) != count:
                raise fields.ModelConfigError(f'model.{name} must hold {count} numbers')

    @staticmethod
    def make_constants(values, table, sample_frames):
        """Computes the box of the voxels: corner_mm [3] and cell_mm [], see `voxels.box`."""
        del values, sample_frames
        corner_mm, cell_mm = voxels.box(table['position_map'], table['mask'], NUM_VOXELS)
        return {'corner_mm': corner_mm, 'cell_mm': cell_mm}

    def initial_state(self, batch):
        """Returns the state before the first view: the memory's zeros."""
        shape = (batch, GRID, GRID, GRID, self.state_features)
        return CELLS[self.recurrence].initial_state(shape)

    @nn.compact
    def _run(self, state, frames, *, train, last_only):
        del train
        batch, num_frames = frames.shape[:2]
        code = self._encode(frames.reshape(-1, *frames.shape[2:]))
        cell_class = CELLS[self.recurrence]
        inputs = {
            name: nn.Dense(
                GRID**3 * self.state_features,
                use_bias=False,
                kernel_init=_msra,
                name=f'{name}_input',
            )(code).reshape(batch, num_frames, GRID, GRID, GRID, self.state_features)
            for name in cell_class.GATES
        }
        state = self.initial_state(batch) if state is None else state
        scan = nn.scan(
            cell_class,
            variable_broadcast='params',
            split_rngs={'params': False},
            in_axes=1,
            out_axes=1,
            unroll=self.scan_unroll or default_unroll(num_frames),
        )
        cell = scan(self.state_features, self.recurrent_kernel, name='memory')
        state, remembered = cell(state, inputs)  # [B, T, 4, 4, 4, C]
        if last_only:
            remembered = remembered[:, -1:]
        logits = self._decode(remembered.reshape(-1, *remembered.shape[2:]))
        corner_mm, cell_mm = self.constant('corner_mm', (3,)), self.constant('cell_mm', ())
        probability = jax.lax.stop_gradient(nn.sigmoid(logits))
        position_map = voxels.cast(probability, corner_mm, cell_mm, self.surface_level, MAP_SIDE)
        box = [
            jnp.broadcast_to(value, (len(logits), *jnp.shape(value)))
            for value in (corner_mm, cell_mm, self.surface_level)
        ]
        prediction = Prediction(position_map, voxels=Voxels(logits, *box))
        return state, unfold(prediction, *remembered.shape[:2])

    def _encode(self, x):
        """Returns the code [N, code_features] of views [N, H, W, 3] in [0, 1]."""
        for i, features in enumerate(self.encoder_features):
            kernel = _FIRST_KERNEL if i == 0 else 3
            y = _rectify(_conv2d(features, kernel, f'encoder_{i}')(x))
            if self.residual:
                y = _rectify(_conv2d(features, 3, f'encoder_{i}_second')(y))
                if _SHORTCUTS[i] == 'conv':
                    y = y + _conv2d(features, 1, f'encoder_{i}_shortcut')(x)
                elif _SHORTCUTS[i] == 'identity':
                    y = y + x
            # The plain original rectifies after pooling: the same, as both keep the order.
            x = nn.max_pool(y, (2, 2), (2, 2), padding=((1, 1), (1, 1)))
        dense = nn.Dense(self.code_features, kernel_init=_msra, bias_init=_bias, name='code')
        return _rectify(dense(x.reshape(len(x), -1)))

    def _decode(self, x):
        """Returns log-odds [N, 32, 32, 32] of states [N, 4, 4, 4, C]."""
        for i, features in enumerate(self.decoder_features):
            enlarge = i < 3
            y = _rectify(Conv3D(features, enlarge=enlarge, name=f'decoder_{i}')(x))
            if self.residual:
                z = _rectify(Conv3D(features, name=f'decoder_{i}_second')(y))
                y = z + self._shortcut(i, features, x, y)
            x = y
        scores = Conv3D(2, name='decoder_last')(x)  # Scores of outside and of inside.
        return scores[..., 1] - scores[..., 0]

    def _shortcut(self, i, features, x, y):
        """Returns what is added to the second convolution of a residual decoder stage."""
        if i == 3:
            return Conv3D(features, name=f'decoder_{i}_shortcut')(y)
        enlarged = insert_zeros(x)
        if x.shape[-1] == features:
            return enlarged
        return Conv3D(features, 1, name=f'decoder_{i}_shortcut')(enlarged)


class Conv3D(nn.Module):
    """A 3D convolution with 'same' padding, of the grid or of the grid enlarged by zeros.

    Attributes:
        features: channels of the output.
        kernel: side, in cells; 3 where `enlarge`.
        enlarge: whether to put a zero after every cell along every axis first.
    """

    features: int
    kernel: int = 3
    enlarge: bool = False

    @nn.compact
    def __call__(self, x):
        shape = (*(self.kernel,) * 3, x.shape[-1], self.features)
        kernel = self.param('kernel', _msra, shape)
        bias = self.param('bias', _bias, (self.features,))
        return (convolve_enlarged if self.enlarge else convolve)(x, kernel) + bias


class GRUCell(nn.Module):
    """h <- u h + (1 - u) tanh(n), as the published code has it; the paper swaps u and 1 - u.

    Attributes:
        features: channels of the state.
        kernel: side of the convolution over the state, in cells.
    """

    GATES = ('update', 'reset', 'candidate')

    features: int
    kernel: int

    @nn.compact
    def __call__(self, state, inputs):
        """Returns the next state and it, [B, 4, 4, 4, C]; inputs: one such array per gate."""
        update = nn.sigmoid(inputs['update'] + self._gate('update', state))
        reset = nn.sigmoid(inputs['reset'] + self._gate('reset', state))
        candidate = jnp.tanh(inputs['candidate'] + self._gate('candidate', reset * state))
        state = update * state + (1 - update) * candidate
        return state, state

    def _gate(self, name, state):
        return Conv3D(self.features, self.kernel, name=name)(state)

    @staticmethod
    def initial_state(shape):
        """Returns the memory of `shape` before the first frame, zeros."""
        return jnp.zeros(shape)


class LSTMCell(nn.Module):
    """s <- f s + i tanh(n), h = tanh(s): without an output gate, as in the paper, eqs. 4 to 7.

    Attributes:
        features, kernel: as of GRUCell.
    """

    GATES = ('forget', 'input', 'candidate')

    features: int
    kernel: int

    @nn.compact
    def __call__(self, state, inputs):
        """Returns the next (s, h) and h, [B, 4, 4, 4, C]; inputs: one such array per gate."""
        memory, hidden = state

        def gate(name):
            return inputs[name] + Conv3D(self.features, self.kernel, name=name)(hidden)

        memory = nn.sigmoid(gate('forget')) * memory
        memory = memory + nn.sigmoid(gate('input')) * jnp.tanh(gate('candidate'))
        hidden = jnp.tanh(memory)
        return (memory, hidden), hidden

    @staticmethod
    def initial_state(shape):
        """Returns memory and output of `shape` before the first frame, zeros."""
        return jnp.zeros(shape), jnp.zeros(shape)


CELLS = {'gru': GRUCell, 'lstm': LSTMCell}


def insert_zeros(x):
    """Puts a zero after every cell of [N, D, H, W, C] along every axis."""
    batch, depth, height, width, channels = x.shape
    x = x[:, :, None, :, None, :, None]
    x = jnp.pad(x, ((0, 0), *((0, 0), (0, 1)) * 3, (0, 0)))
    return x.reshape(batch, 2 * depth, 2 * height, 2 * width, channels)


def _conv2d(features, kernel, name):
    size = (kernel, kernel)
    return nn.Conv(features, size, kernel_init=_msra, bias_init=_bias, name=name)


def _rectify(x):
    return nn.leaky_relu(x, _SLOPE)


def _bias(key, shape, dtype=jnp.float32):
    del key
    return jnp.full(shape, GATE_BIAS, dtype)
