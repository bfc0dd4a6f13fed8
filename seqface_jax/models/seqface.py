"""Frames in, a face after every frame: an encoder with memory and a decoder, both from lists.

Thomassen, 2022 (the thesis), appendix B-2, is one such pair of lists: configs/bu4dfe_thesis.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from seqface_jax.models import fields
from seqface_jax.models.layers.conv_lstm import RECURRENT_ACTIVATIONS, ConvLSTM
from seqface_jax.models.layers.decoders import ConvTranspose, ResizeConv
from seqface_jax.models.layers.mobilenet import ConvBlock, InvertedResidual
from seqface_jax.models.layers.norm import NORMS
from seqface_jax.models.prediction import Prediction
from seqface_jax.models.sequence_model import SequenceModel

ENCODER_KINDS = {'conv_lstm': ConvLSTM, 'inverted_residual': InvertedResidual, 'conv': ConvBlock}
DECODER_KINDS = {'conv_transpose': ConvTranspose, 'resize_conv': ResizeConv}
OUTPUT_ACTIVATIONS = {'tanh': jnp.tanh, 'linear': lambda x: x}
# Fields that all layers share.
_SHARED_FIELDS = ('recurrent_activation', 'scan_unroll', 'norm', 'axis_name')


class SeqFace(SequenceModel, kw_only=True):
    """Predicts a position map after every frame of a sequence, of any length.

    The side of the map is image_size / (strides of the encoder) * (strides of the decoder):
    image_size / 2 for the thesis (32 / 16), so 128 at 256 pixels and 32 at 64.

    Attributes:
        encoder: one dict per layer, 'kind' in ENCODER_KINDS and the fields of that class, such as
            {'kind': 'conv_lstm', 'features': 32, 'stride': 2}. The state is that of its ConvLSTMs.
        decoder: one dict per layer, 'kind' in DECODER_KINDS; the last has 3 features. ReLU between
            the layers.
        norm: of the per-frame blocks, a name in NORMS.
        recurrent_activation: of the ConvLSTM gates, a name in RECURRENT_ACTIVATIONS.
        output_activation: a name in OUTPUT_ACTIVATIONS; its result is scaled and shifted to mm by
            the constants scale_mm [] and offset_mm [3].
        remat_frames: in training go through so many frames at a time, of which only the state is
            kept for the backward pass; 0: through all at once. Memory is that of one such part
            and a state per part. Equal gradients, but for norm='batch': its statistics are
            then those of a part.
    """

    encoder: Sequence[Mapping[str, Any]]
    decoder: Sequence[Mapping[str, Any]]
    norm: str = 'batch'
    recurrent_activation: str = 'hard_sigmoid'
    output_activation: str = 'tanh'
    remat_frames: int = 0

    def initial_state(self, batch):
        """Returns the state before the first frame: (c, h) of each ConvLSTM, by its name."""
        state, side = {}, self.image_size
        for name, kind, layer in self._layers('encoder'):
            side = -(-side // layer.get('stride', 1))
            if kind == 'conv_lstm':
                zeros = jnp.zeros((batch, side, side, layer['features']))
                state[name] = (zeros, zeros)
        return state

    @property
    def side(self):
        """S, the side of the map, in pixels."""
        side = self.image_size
        for _, _, layer in self._layers('encoder'):
            side = -(-side // layer.get('stride', 1))
        for _, _, layer in self._layers('decoder'):
            side *= layer.get('stride', 1)
        return side

    @classmethod
    def check_fields(cls, values):
        """Checks the fields of a config; raises ModelConfigError."""
        super().check_fields(values)
        for part, kinds in (('encoder', ENCODER_KINDS), ('decoder', DECODER_KINDS)):
            fields.check_layers(values[part], kinds, f'model.{part}', _SHARED_FIELDS)
        if not values['decoder'] or values['decoder'][-1]['features'] != 3:
            raise fields.ModelConfigError('the last layer of model.decoder must have 3 features')
        for name, choices in (
            ('norm', NORMS),
            ('recurrent_activation', RECURRENT_ACTIVATIONS),
            ('output_activation', OUTPUT_ACTIVATIONS),
        ):
            if name in values:
                fields.choose(choices, values[name], f'model.{name}')
        if values.get('remat_frames', 0) < 0:
            raise fields.ModelConfigError('model.remat_frames is below 0')

    @staticmethod
    def make_constants(values, table, sample_frames):
        """Computes scale_mm and offset_mm from the subjects of the training split.

        Args:
            values: the fields of the config, unused.
            table: dict of stacked arrays; `points` [N, P, 3] mm is read.
            sample_frames: unused.

        Returns:
            scale_mm [], the mean over subjects of the radius of the furthest point, and
            offset_mm [3], the mean of their centroids.
        """
        del values, sample_frames
        points = np.asarray(table['points'], np.float32)
        centroids = points.mean(axis=1)
        radii = np.sqrt(np.square(points - centroids[:, None]).sum(axis=-1)).max(axis=1)
        return {'scale_mm': radii.mean(), 'offset_mm': centroids.mean(axis=0)}

    @nn.compact
    def _run(self, state, frames, *, train, last_only):
        num_frames, size = frames.shape[1], self.remat_frames
        if not train or not 0 < size < num_frames or self.is_initializing():
            return self._run_part(state, frames, train, last_only)

        def run(model, state, part):
            return model._run_part(state, part, train, last_only)

        run = nn.remat(run, prevent_cse=False)
        state = state or self.initial_state(len(frames))
        first = num_frames % size
        if first:
            state, begun = run(self, state, frames[:, :first])
        scan = nn.scan(
            run,
            variable_broadcast=('params', 'constants'),
            variable_carry='batch_stats',
            split_rngs={'params': False, 'dropout': True},
            in_axes=1,
            out_axes=1,
        )
        parts = frames[:, first:].reshape(len(frames), -1, size, *frames.shape[2:])
        state, prediction = scan(self, state, parts)
        if last_only:
            return state, jax.tree.map(lambda leaf: leaf[:, -1], prediction)
        prediction = jax.tree.map(
            lambda leaf: leaf.reshape(len(frames), -1, *leaf.shape[3:]), prediction
        )
        if first:
            prediction = jax.tree.map(
                lambda *leaves: jnp.concatenate(leaves, axis=1), begun, prediction
            )
        return state, prediction

    def _run_part(self, state, frames, train, last_only):
        state, x = self._encode(state, frames, train)
        if last_only:
            x = x[:, -1:]
        batch, num_frames = x.shape[:2]
        x = x.reshape(batch * num_frames, *x.shape[2:])
        for i, (name, kind, layer) in enumerate(self._layers('decoder')):
            if i > 0:
                x = jax.nn.relu(x)
            x = DECODER_KINDS[kind](**layer, name=name)(x)
        unit = OUTPUT_ACTIVATIONS[self.output_activation](x)  # [B * T, S, S, 3]
        scale_mm = self.variable('constants', 'scale_mm', lambda: jnp.float32(100.0)).value
        offset_mm = self.variable('constants', 'offset_mm', lambda: jnp.zeros(3)).value
        position_map = scale_mm * unit + offset_mm
        return state, Prediction(position_map.reshape(batch, num_frames, *unit.shape[1:]))

    def _encode(self, state, frames, train):
        """Returns the state after the last frame, and the features [B, T, h, w, C] of each."""
        x, new_state = frames, {}
        for name, kind, layer in self._layers('encoder'):
            if kind == 'conv_lstm':
                conv_lstm = ConvLSTM(
                    **layer,
                    recurrent_activation=self.recurrent_activation,
                    scan_unroll=self.scan_unroll,
                    name=name,
                )
                new_state[name], x = conv_lstm(x, state and state[name])
            else:
                block = ENCODER_KINDS[kind](
                    **layer, norm=self.norm, axis_name=self.axis_name, name=name
                )
                y = block(x.reshape(-1, *x.shape[2:]), train=train)  # [B * T, h, w, C]
                x = y.reshape(*x.shape[:2], *y.shape[1:])
        return new_state, x

    def _layers(self, part):
        """Yields (name in the checkpoint, kind, fields) of each layer of 'encoder' or 'decoder'."""
        for i, layer in enumerate(getattr(self, part)):
            layer = dict(layer)
            kind = layer.pop('kind')
            yield f'{part}_{i}_{kind}', kind, layer
