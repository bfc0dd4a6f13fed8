"""Turns a model.h5 that the thesis code saved with Keras 2 into a run of ours.

    python -m seqface_jax.import_keras --h5=model.h5 --workdir=runs/thesis

The file is legacy HDF5: the attribute `model_config` (JSON) lists the layers in order, and the
group `model_weights/<layer>` holds the arrays that its attribute `weight_names` lists. Layer names
are numbered by Keras (conv_lst_m2d_3, time_distributed_17) and mean nothing: layers are taken in
order. Any image size, number of frames and width, with or without squeeze-and-excite. Only arrays
and JSON are read, nothing in the file is executed.
"""

import json
import os
import sys
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags, logging
from flax import traverse_util
from ml_collections import config_flags

from seqface_jax import checkpoints, command_line, models
from seqface_jax.errors import UserError, exit_on_user_error, unread
from seqface_jax.models import fields

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_OFFSET_MM = (0.0, -4.0, 58.0)  # The centroid of a face in the canonical frame.
# Layers without weights that the parser need not see: the order of the others implies them.
_SILENT = ('InputLayer', 'Activation', 'GlobalAveragePooling2D', 'Reshape')
_MAX_NUMBERS = 1 << 28  # Of one array; the whole network of the thesis has 43 million.
_READ_ERRORS = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,  # Of h5py, and of JSON that is nested too deep.
    MemoryError,
)
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


class KerasLayer(NamedTuple):
    """One layer: `kind` is its Keras class, inside TimeDistributed if it stands in one."""

    name: str
    kind: str
    config: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Network(NamedTuple):
    """What a file holds: fields of SeqFace, its variables, and the input that it was made for."""

    fields: dict[str, Any]
    variables: dict[str, Any]
    image_size: int
    num_frames: int | None


def read(path):
    """Returns the Network in a file.

    Raises:
        UserError: it cannot be read, is not a saved Keras 2 model, or is of another network.
    """
    input_shape, layers = _read_layers(path)
    try:
        values, variables = convert(layers)
    except (UserError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f'{path} does not hold the network of the thesis: {error}') from error
    num_frames, height, width, channels = input_shape
    if channels != 3 or height != width or not height:
        raise UserError(
            f'{path} takes frames of {height} x {width} x {channels}: only square RGB frames of a '
            'fixed size can be imported'
        )
    _check_shapes(path, values, variables, height)
    return Network(values, variables, height, num_frames)


def convert(layers):
    """Turns the layers of the thesis's network into ours.

    Args:
        layers: list of KerasLayer in the order of the network.

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


def write_run(network, workdir, config, scale_mm):
    """Writes a workdir that evaluates and streams as one of a training does.

    Args:
        network: a Network.
        workdir: folder to write.
        config: ConfigDict of the run; the sections model and data are changed to fit.
        scale_mm: millimetres per unit of the output.
    """
    config = config.copy_and_resolve_references()
    config.data.image_size = network.image_size
    if network.num_frames:
        config.data.num_frames = network.num_frames
    with config.unlocked():
        config.model = {'name': 'seqface'} | network.fields
    constants = {'scale_mm': np.float32(scale_mm), 'offset_mm': np.float32(_OFFSET_MM)}
    checkpoints.write_config(workdir, config)
    checkpoints.save(workdir, 'best_validation', network.variables | {'constants': constants}, {})


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


def _check_shapes(path, values, variables, image_size):
    """Raises UserError if the arrays do not fit the network that the layers describe."""
    model = models.create({'name': 'seqface'} | values, image_size)
    expected = dict(jax.eval_shape(lambda: checkpoints.init_variables(model, image_size, 0)))
    expected.pop('constants')
    shapes = [
        {place: np.shape(array) for place, array in traverse_util.flatten_dict(tree).items()}
        for tree in (expected, variables)
    ]
    differing = sorted(
        '/'.join(place)
        for place in shapes[0].keys() | shapes[1].keys()
        if shapes[0].get(place) != shapes[1].get(place)
    )
    if differing:
        raise UserError(
            f'{path} is inconsistent: its arrays do not fit its layers, first at {differing[0]}'
        )


def _read_layers(path):
    """Returns the shape [T, H, W, C] of the input and the list of KerasLayer of a file."""
    try:
        import h5py
    except ImportError as error:
        raise UserError("reading .h5 files needs h5py: pip install 'seqface-jax[keras]'") from error
    if not os.path.isfile(path):
        raise UserError(f'there is no file {path}: give the model.h5 of the thesis code as --h5')
    try:
        with h5py.File(path, 'r') as file:
            if 'model_config' not in file.attrs or 'model_weights' not in file:
                raise UserError(
                    f'{path} is not a model saved by Keras 2: it needs the attribute model_config '
                    'and the group model_weights, which model.save writes (save_weights does not)'
                )
            version = _text(file.attrs.get('keras_version', '2'))
            if not version.startswith('2'):
                raise UserError(f'{path} was saved by Keras {version}: only Keras 2 is read')
            entries = json.loads(_text(file.attrs['model_config']))['config']['layers']
            weights = _follow(file, 'model_weights')
            layers = [_read_layer(entry, weights) for entry in entries]
            shapes = [layer.config.get('batch_input_shape') for layer in layers]
            shape = next((tuple(shape) for shape in shapes if shape), ())
    except _READ_ERRORS as error:
        if (reason := unread(error)) is not None:
            raise UserError(f'{path} cannot be read: {reason}') from error
        raise UserError(
            f'{path} cannot be read ({error}): it is truncated or not a model saved by Keras 2'
        ) from error
    if len(shape) != 5:
        raise UserError(f'{path} does not take sequences of frames, [B, T, H, W, 3]')
    return shape[1:], layers


def _read_layer(entry, weights):
    """Returns the KerasLayer of one entry of `model_config`."""
    name, config, kind = entry['config']['name'], entry['config'], entry['class_name']
    if kind == 'TimeDistributed':
        inner = config['layer']
        shape = config.get('batch_input_shape')
        kind, config = inner['class_name'], dict(inner['config'], batch_input_shape=shape)
    arrays = {}
    if name in weights:
        group = _follow(weights, name)
        for weight_name in _read_names(group.attrs, 'weight_names'):
            role = weight_name.split('/')[-1].split(':')[0]
            arrays[role] = _read_array(_follow(group, weight_name))
    return KerasLayer(name, kind, config, arrays)


def _follow(group, name):
    """Returns what lies at a path inside the file: no link may lead out of it."""
    import h5py

    for part in filter(None, name.split('/')):
        link = group.get(part, getlink=True) if part in group else None
        if link is not None and not isinstance(link, h5py.HardLink):
            raise ValueError(f'{name} is a link to another place')
        group = group[part]
    return group


def _read_array(dataset):
    """Returns numbers that are stored in the file itself, as float32."""
    if dataset.dtype.kind not in 'fiu' or dataset.external or dataset.is_virtual:
        raise ValueError(f'{dataset.name} does not hold numbers of its own')
    if dataset.size > _MAX_NUMBERS:
        raise ValueError(f'{dataset.name} announces {dataset.size} numbers')
    return np.asarray(dataset, np.float32)


def _read_names(attributes, name):
    """Returns a list of names; Keras cuts one that is too long for HDF5 into name0, name1, ..."""
    if name in attributes:
        return [_text(value) for value in attributes[name]]
    values, part = [], 0
    while f'{name}{part}' in attributes:
        values += [_text(value) for value in attributes[f'{name}{part}']]
        part += 1
    return values


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def define_flags():
    # Not at import: two commands in one process (tests) may have flags of one name.
    flags.DEFINE_string('h5', None, 'The file that model.save of the thesis code wrote.')
    flags.DEFINE_string('workdir', None, 'Folder of the run to write.')
    flags.DEFINE_float(
        'scale_mm',
        100.0,
        'Millimetres per unit of the output: the file does not know its own scale.',
    )
    config_flags.DEFINE_config_file(
        'config',
        os.path.join(_ROOT, 'configs', 'bu4dfe_thesis.py'),
        'Config of the run; what the file says of the network and its input replaces its lines.',
        lock_config=True,
    )


@exit_on_user_error
def main(argv):
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    network = read(flags.FLAGS.h5)
    write_run(network, flags.FLAGS.workdir, flags.FLAGS.config, flags.FLAGS.scale_mm)
    size, count = network.image_size, sum(x.size for x in jax.tree.leaves(network.variables))
    sys.stdout.write(f'{flags.FLAGS.workdir}: {count} numbers, frames of {size} x {size}\n')


if __name__ == '__main__':
    define_flags()
    command_line.require(h5='FILE of the thesis, .h5', workdir='FOLDER of the new run')
    app.run(main, flags_parser=command_line.parse)
