"""Reads the layers of a model.h5 that Keras 2 saved.

The file is legacy HDF5: the attribute `model_config` (JSON) lists the layers in order, and the
group `model_weights/<layer>` holds the arrays that its attribute `weight_names` lists. Only arrays
and JSON are read, nothing in the file is executed.
"""

import json
import os
from typing import Any, NamedTuple

import numpy as np

from seqface_jax.errors import UserError, unread

_MAX_NUMBERS = 1 << 28  # Most numbers in one array; the whole network of the thesis has 43 million.
_READ_ERRORS = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,  # From h5py, and from JSON that is nested too deep.
    MemoryError,
)


class KerasLayer(NamedTuple):
    """One layer: `kind` is its Keras class, inside TimeDistributed if it stands in one."""

    name: str
    kind: str
    config: dict[str, Any]
    arrays: dict[str, np.ndarray]


def read_layers(path):
    """Returns the shape [T, H, W, C] of the input and the list of KerasLayer of a file.

    Raises:
        UserError: it cannot be read, or is not a saved Keras 2 model of sequences.
    """
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
            version = decode_text(file.attrs.get('keras_version', '2'))
            if not version.startswith('2'):
                raise UserError(f'{path} was saved by Keras {version}: only Keras 2 is read')
            entries = json.loads(decode_text(file.attrs['model_config']))['config']['layers']
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
        for weight_name in read_names(group.attrs, 'weight_names'):
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


def read_names(attributes, name):
    """Returns a list of names; Keras cuts one that is too long for HDF5 into name0, name1, ..."""
    if name in attributes:
        return [decode_text(value) for value in attributes[name]]
    values, part = [], 0
    while f'{name}{part}' in attributes:
        values += [decode_text(value) for value in attributes[f'{name}{part}']]
        part += 1
    return values


def decode_text(value):
    """Returns an attribute of a file, bytes or str, as str."""
    return value.decode() if isinstance(value, bytes) else str(value)
