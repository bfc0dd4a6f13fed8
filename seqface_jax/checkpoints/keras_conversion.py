"""Turns the layers of the thesis's Keras network into the fields and variables of SeqFace.

Layer names are numbered by Keras (conv_lst_m2d_3, time_distributed_17) and mean nothing: layers are
taken in order. Any image size, number of frames and width, with or without squeeze-and-excite.
"""

from flax import traverse_util

from seqface_jax.errors import UserError
from seqface_jax.models import fields

# Layers without weights that the parser need not see: the order of the others implies them.
_SILENT = ('InputLayer', 'Activation', 'GlobalAveragePooling2D', 'Reshape')
_ARRAYS = {  # By layer, what Keras calls its arrays.
    'ConvLSTM2D': ('kernel', 'recurrent_kernel', 'bias'),
    'Conv2D': ('kernel', 'bias'),
    'DepthwiseConv2D': ('depthwise_kernel', 'bias'),
    'BatchNormalization': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
    'Dense': ('kernel',),
    'Multiply': (),
    'Add': (),
    'Conv2DTranspose': ('kernel', 'bias'),
}
_EXPECTED = {  # By layer, options that change what it computes and must be these.
    'ConvLSTM2D': {
        'activation': 'tanh',
        'padding': 'same',
        'data_format': 'channels_last',
        'dilation_rate': (1, 1),
        'use_bias': True,
        'go_backwards': False,
        'stateful': False,
    },
    'Conv2D': {'kernel_size': (1, 1), 'strides': (1, 1), 'use_bias': True, 'activation': 'linear'},
    'DepthwiseConv2D': {
        'padding': 'same',
        'depth_multiplier': 1,
        'dilation_rate': (1, 1),
        'use_bias': True,
        'activation': 'linear',
    },
    'BatchNormalization': {'epsilon': 1e-3, 'center': True, 'scale': True},
    'Dense': {'use_bias': False},
    'Conv2DTranspose': {'padding': 'same', 'use_bias': True, 'dilation_rate': (1, 1)},
}


def convert(layers):
    """Turns the layers of the thesis's network into ours.

    Args:
        layers: list of keras_file.KerasLayer in the order of the network.

    Returns:
        The fields `encoder`, `decoder`, `norm`, `recurrent_activation` and `output_activation` of
        SeqFace, and its variables without the constants.

    Raises:
        UserError: the layers are not those of such a network.
    """
    builder = _Builder(layers)
    while builder.next_kind is not None:
        builder.take_block()
    return builder.fields(), builder.variables()


class _Builder:
    """Takes the layers from the front and builds the lists of SeqFace and its variables."""

    def __init__(self, layers):
        self._layers = [layer for layer in layers if layer.kind not in _SILENT]
        self._next = 0
        self._encoder, self._decoder = [], []
        self._params, self._batch_stats = {}, {}
        self._recurrent_activations, self._decoder_activations = [], []

    @property
    def next_kind(self):
        """The class of the layer in front, None at the end."""
        return self._layers[self._next].kind if self._next < len(self._layers) else None

    def take_block(self):
        """Takes the next ConvLSTM, bottleneck or transposed convolution."""
        if self.next_kind == 'Conv2DTranspose':
            self._take_conv_transpose()
        elif self._decoder:
            raise UserError(f'{self._layers[self._next].name} follows a transposed convolution')
        elif self.next_kind == 'ConvLSTM2D':
            self._take_conv_lstm()
        else:
            self._take_bottleneck()

    def fields(self):
        """Returns the fields of SeqFace."""
        activations = self._decoder_activations
        if not self._encoder or not activations or set(activations[:-1]) - {'relu'}:
            raise UserError('it is no encoder followed by transposed convolutions with ReLU')
        if len(set(self._recurrent_activations)) != 1:
            raise UserError('its ConvLSTMs must all have the same recurrent_activation')
        return {
            'encoder': tuple(self._encoder),
            'decoder': tuple(self._decoder),
            'norm': 'batch',
            'recurrent_activation': self._recurrent_activations[0],
            'output_activation': activations[-1],
        }

    def variables(self):
        """Returns the collections params and batch_stats."""
        nest = traverse_util.unflatten_dict
        return {'params': nest(self._params), 'batch_stats': nest(self._batch_stats)}

    def _take(self, kind):
        if self.next_kind != kind:
            found = self._layers[self._next].name if self.next_kind else 'the end'
            raise UserError(f'where a {kind} should be, there is {found}')
        layer = self._layers[self._next]
        self._next += 1
        for option, expected in _EXPECTED.get(kind, {}).items():
            value = fields.plain(layer.config.get(option, expected))
            if value != expected:
                raise UserError(f'{layer.name} has {option}={value}, not {expected}')
        missing = [name for name in _ARRAYS[kind] if name not in layer.arrays]
        if missing:
            raise UserError(f'{layer.name} has no array {missing[0]}')
        return layer

    def _take_conv_lstm(self):
        layer = self._take('ConvLSTM2D')
        kernel, stride = (_side(layer, option) for option in ('kernel_size', 'strides'))
        entry = {'kind': 'conv_lstm', 'features': layer.config['filters'], 'kernel': kernel}
        name = f'encoder_{len(self._encoder)}_conv_lstm'
        self._encoder.append(entry | {'stride': stride})
        self._recurrent_activations.append(layer.config['recurrent_activation'])
        for array in _ARRAYS['ConvLSTM2D']:
            self._params[name, 'cell', array] = layer.arrays[array]

    def _take_bottleneck(self):
        expand = self._take('Conv2D')
        expand_norm = self._take('BatchNormalization')
        depthwise = self._take('DepthwiseConv2D')
        depthwise_norm = self._take('BatchNormalization')
        squeeze = []
        if self.next_kind == 'Dense':
            squeeze = [self._take('Dense'), self._take('Dense')]
            self._take('Multiply')
        project = self._take('Conv2D')
        project_norm = self._take('BatchNormalization')
        place = self._place_bottleneck(expand, depthwise, project, bool(squeeze))
        for name, layer in (('expand', expand), ('project', project)):
            self._put_conv((*place, name), layer, layer.arrays['kernel'])
        kernel = depthwise.arrays['depthwise_kernel'].swapaxes(2, 3)  # [3, 3, 1, C]
        self._put_conv((*place, 'depthwise'), depthwise, kernel)
        self._put_norm((*place, 'expand_norm'), expand_norm)
        self._put_norm((*place, 'depthwise_norm'), depthwise_norm)
        self._put_norm((*place, 'project_norm'), project_norm)
        for name, layer in zip(('reduce', 'expand'), squeeze, strict=False):
            if layer.arrays['kernel'].size:  # Narrow networks have layers of no units.
                path = (*place, 'squeeze_excite', name, 'kernel')
                self._params[path] = layer.arrays['kernel']

    def _place_bottleneck(self, expand, depthwise, project, squeeze):
        """Adds to the encoder list: a repeat of the last block, or a new one; returns its path."""
        entry = {
            'kind': 'inverted_residual',
            'features': project.config['filters'],
            'kernel': _side(depthwise, 'kernel_size'),
            'stride': _side(depthwise, 'strides'),
            'expansion': expand.config['filters'] // expand.arrays['kernel'].shape[2],
            'repeats': 1,
            'squeeze': squeeze,
        }
        if self.next_kind == 'Add':
            self._take('Add')
            last = self._encoder[-1] if self._encoder else {}
            repeat = {'stride': last.get('stride'), 'repeats': last.get('repeats')}
            if entry['stride'] != 1 or entry | repeat != last:
                raise UserError(f'{expand.name} is no repeat of the block before it')
            last['repeats'] += 1
        else:
            self._encoder.append(entry)
        index, repeats = len(self._encoder) - 1, self._encoder[-1]['repeats']
        return f'encoder_{index}_inverted_residual', f'repeat_{repeats - 1}'

    def _take_conv_transpose(self):
        layer = self._take('Conv2DTranspose')
        kernel, stride = (_side(layer, option) for option in ('kernel_size', 'strides'))
        entry = {'kind': 'conv_transpose', 'features': layer.config['filters'], 'kernel': kernel}
        name = f'decoder_{len(self._decoder)}_conv_transpose'
        self._decoder.append(entry | {'stride': stride})
        self._decoder_activations.append(layer.config['activation'])
        self._put_conv((name,), layer, layer.arrays['kernel'])

    def _put_conv(self, path, layer, kernel):
        self._params[(*path, 'kernel')] = kernel
        self._params[(*path, 'bias')] = layer.arrays['bias']

    def _put_norm(self, path, layer):
        self._params[(*path, 'scale')] = layer.arrays['gamma']
        self._params[(*path, 'bias')] = layer.arrays['beta']
        self._batch_stats[(*path, 'mean')] = layer.arrays['moving_mean']
        self._batch_stats[(*path, 'var')] = layer.arrays['moving_variance']


def _side(layer, option):
    height, width = layer.config[option]
    if height != width:
        raise UserError(f'{layer.name} has {option}={height}, {width}: only squares are known')
    return height
