"""Each frame is evidence about the face; evidence adds up, so every frame makes the face better.

A frame says where it believes the face lies in the linear space of training faces, and how
precisely, direction by direction. The belief after t frames is the Gaussian posterior: prior
N(0, 1), precisions added, means weighted by precision (the update of a Kalman filter whose state
does not move). Its size does not grow with t, and the order of the frames hardly matters: only
through a ConvLSTM that remembers what was seen, so that a copy of a known frame counts for less.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from seqface_jax import position_map as grid
from seqface_jax.models import fields
from seqface_jax.models.conv_lstm import ConvLSTM
from seqface_jax.models.mobilenet import ConvBlock, InvertedResidual
from seqface_jax.models.oriented_gradients import OrientedGradients
from seqface_jax.models.prediction import Prediction

ENCODER_KINDS = {
    'oriented_gradients': OrientedGradients,
    'conv': ConvBlock,
    'inverted_residual': InvertedResidual,
}
MIN_VARIANCE_MM2 = 0.01  # Of a coordinate: the noise of a good scanner, squared.


class Fusion(nn.Module):
    """Predicts a position map after every frame of a sequence, of any length.

    Attributes:
        image_size: side of the frames, in pixels.
        encoder: one dict per per-frame layer, 'kind' in ENCODER_KINDS and the fields of its class.
        memory_features: channels of the ConvLSTM over the encoder's last features.
        memory_stride: of its input convolution, in pixels of those features.
        hidden_features: of the layer between encoder and evidence.
        code_size: K, directions of the linear face space.
        dropout: share of the hidden features dropped in training.
        norm: of the per-frame blocks, a name in models.norm.NORMS.
        scan_unroll: as of ConvLSTM.
        axis_name: of the devices that share one batch, or None; for training under `pmap`.
    """

    image_size: int
    encoder: Sequence[Mapping[str, Any]]
    memory_features: int
    memory_stride: int
    hidden_features: int
    code_size: int
    dropout: float = 0.0
    norm: str = 'group'
    scan_unroll: int = 0
    axis_name: str | None = None

    def __call__(self, frames, *, train, last_only=False):
        """Returns the Prediction of every frame, or of the last one only.

        Args:
            frames: [B, T, H, W, 3] float32, normalised as the config says.
            train: whether to drop hidden features (rng stream 'dropout').
            last_only: answer after the last frame only; T of the prediction is 1.
        """
        _, prediction = self._run(None, frames, train=train, last_only=last_only)
        return prediction

    def step(self, state, frame):
        """Takes one more frame [B, H, W, 3]; returns the new state and a Prediction without T."""
        state, prediction = self._run(state, frame[:, None], train=False, last_only=False)
        return state, jax.tree.map(lambda leaf: leaf[:, 0], prediction)

    def initial_state(self, batch):
        """Returns the state before the first frame: the memory and the belief N(0, 1)."""
        side = self.image_size
        for layer in self.encoder:
            side = -(-side // layer.get('stride', 1))
        side = -(-side // self.memory_stride)
        memory = jnp.zeros((batch, side, side, self.memory_features))
        return {
            'memory': (memory, memory),
            'precision': jnp.ones((batch, self.code_size)),
            'weighted_code': jnp.zeros((batch, self.code_size)),
        }

    def merge_states(self, first, second):
        """Joins what two sets of frames of one person say; the memory is the second's.

        Evidence adds, and the prior that both hold counts once: the answer is the one to all the
        frames, but for frames of the second set that repeat the first's: they were taken for new.
        """
        return {
            'memory': second['memory'],
            'precision': first['precision'] + second['precision'] - 1,
            'weighted_code': first['weighted_code'] + second['weighted_code'],
        }

    def read_state(self, state):
        """Returns the Prediction, without T, that a state stands for."""
        return jax.tree.map(
            lambda leaf: leaf[:, 0], self._run(state, None, train=False, last_only=True)
        )

    @staticmethod
    def check_fields(values):
        """Checks the fields of a config; raises ModelConfigError."""
        fields.check(Fusion, values, 'model', ('image_size', 'axis_name', 'scan_unroll'))
        given = ('norm', 'axis_name')
        fields.check_layers(values['encoder'], ENCODER_KINDS, 'model.encoder', given)

    @staticmethod
    def make_constants(values, table):
        """Computes the linear face space from the subjects of the training split.

        The principal components of the maps and their mirror images, so that the space is as
        symmetric as the augmentation; each scaled to the standard deviation of the faces along
        it. Directions beyond what the subjects span are zero.

        Args:
            values: the fields of the config; code_size is read.
            table: dict of stacked arrays; position_map [N, 128, 128, 3] mm and mask
                [N, 128, 128] are read.

        Returns:
            mean_map [128, 128, 3] mm and basis [K, 128, 128, 3] mm.
        """
        mirror = np.array([-1, 1, 1], np.float32)
        maps = np.asarray(table['position_map'], np.float32)
        mask = np.asarray(table['mask'], bool)
        maps = np.concatenate([maps, maps[:, :, ::-1] * mirror])
        mask = np.concatenate([mask, mask[:, :, ::-1]])[..., None]
        count = mask.sum(axis=0)
        mean = np.where(count > 0, (maps * mask).sum(axis=0) / np.maximum(count, 1), maps.mean(0))
        # What a scan does not show is taken as the mean: it moves no direction.
        deviations = np.where(mask, maps - mean, 0).reshape(len(maps), -1)
        variances, vectors = np.linalg.eigh(deviations @ deviations.T)
        largest = np.argsort(variances)[::-1][: values['code_size']]
        # The eigenvector v of the Gram matrix G = D D' gives the direction D' v, of length
        # sqrt(variance * N); over sqrt(N) it is the standard deviation along it.
        basis = vectors[:, largest].T @ deviations / np.sqrt(len(maps))
        basis = np.pad(basis, ((0, values['code_size'] - len(basis)), (0, 0)))
        shape = (values['code_size'], *mean.shape)
        return {'mean_map': mean, 'basis': basis.reshape(shape).astype(np.float32)}

    @nn.compact
    def _run(self, state, frames, *, train, last_only):
        if frames is None:
            precision = state['precision'][:, None]
            return self._decode(state['weighted_code'][:, None] / precision, precision)
        batch, num_frames = frames.shape[:2]
        if state is None:
            state = self.initial_state(batch)
        features = self._encode(frames, train)
        conv_lstm = ConvLSTM(
            self.memory_features,
            stride=self.memory_stride,
            scan_unroll=self.scan_unroll,
            name='memory',
        )
        memory, remembered = conv_lstm(features, state['memory'])
        # Frame t is judged by the memory of the frames before it.
        before = jnp.concatenate([state['memory'][1][:, None], remembered[:, :-1]], axis=1)
        code, precision = self._evidence(features, before, train)  # Each [B, T, K].
        precision_sum = state['precision'][:, None] + jnp.cumsum(precision, axis=1)
        weighted_code = state['weighted_code'][:, None] + jnp.cumsum(precision * code, axis=1)
        state = {
            'memory': memory,
            'precision': precision_sum[:, -1],
            'weighted_code': weighted_code[:, -1],
        }
        if last_only:
            precision_sum, weighted_code = precision_sum[:, -1:], weighted_code[:, -1:]
        return state, self._decode(weighted_code / precision_sum, precision_sum)

    def _encode(self, frames, train):
        """Returns the features [B, T, h, w, C] of each frame by itself."""
        x = frames.reshape(-1, *frames.shape[2:]) - 0.5
        for i, layer in enumerate(self.encoder):
            layer = dict(layer)
            kind = layer.pop('kind')
            if kind != 'oriented_gradients':
                layer |= {'norm': self.norm, 'axis_name': self.axis_name}
            x = ENCODER_KINDS[kind](**layer, name=f'encoder_{i}_{kind}')(x, train=train)
        return x.reshape(*frames.shape[:2], *x.shape[1:])

    def _evidence(self, features, before, train):
        """Returns what each frame says of the code, and how precisely; each [B, T, K]."""
        batch, num_frames = features.shape[:2]
        x = features.reshape(batch, num_frames, -1)  # Where a feature is matters: no pooling.
        # So that a step of Adam moves the code by little, however many features there are:
        # wild evidence would teach the network to be unsure for ever.
        x = (x - 1) / np.sqrt(x.shape[-1])
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        hidden = nn.silu(nn.Dense(self.hidden_features, name='hidden')(x))
        # Starts at the mean face.
        zeros = nn.initializers.zeros
        code = nn.Dense(self.code_size, kernel_init=zeros, name='linear_code')(x)
        code += nn.Dense(self.code_size, kernel_init=zeros, name='code')(hidden)
        precision = nn.softplus(nn.Dense(self.code_size, name='precision')(hidden) - 1)
        seen = jnp.concatenate([features.mean(axis=(2, 3)), before.mean(axis=(2, 3))], axis=-1)
        novelty = nn.silu(nn.Dense(self.hidden_features // 2, name='novelty_hidden')(seen))
        novelty = nn.sigmoid(nn.Dense(1, name='novelty')(novelty) + 2)  # Starts near 1.
        return code, precision * novelty

    def _decode(self, code, precision):
        """Returns the Prediction of beliefs [B, T, K]."""
        shape = (grid.SIZE, grid.SIZE, 3)
        mean_map = self.variable('constants', 'mean_map', jnp.zeros, shape).value
        basis = self.variable('constants', 'basis', jnp.zeros, (self.code_size, *shape)).value
        position_map = mean_map + jnp.einsum('btk,khwc->bthwc', code, basis)
        # Frames share errors (of the network, of the person's looks) that no number of them
        # removes, and the space leaves out what it leaves out.
        shared = nn.softplus(self.param('shared_variance', _constant(-2.0), (self.code_size,)))
        outside = nn.softplus(self.param('outside_variance', _constant(0.0), shape[:2]))
        power = jnp.square(basis).mean(axis=-1)  # [K, H, W] mm^2, of each coordinate.
        variance = jnp.einsum('btk,khw->bthw', 1 / precision + shared, power) + outside
        return Prediction(position_map, jnp.log(variance + MIN_VARIANCE_MM2))


def _constant(value):
    return nn.initializers.constant(value)
