"""The state of a reconstruction on disk: .npz without pickled objects, of one network."""

import hashlib
import os

import jax
import numpy as np

from seqface_jax import errors, files
from seqface_jax.errors import UserError
from seqface_jax.photos import face_detection, own_files

FORMAT = 2  # Version of what is saved; raised when an older program could not read it.
_LEAF = 'network'


def save(path, state, network_fingerprint):
    """Writes a state; the file is whole or absent.

    Args:
        path: of the .npz.
        state: (network, detection, num_frames), as reconstruct.State.
        network_fingerprint: str, what `fingerprint` returned.

    Raises:
        UserError: the file cannot be written.
    """
    network, detection, num_frames = state
    content = {'format': FORMAT, 'fingerprint': network_fingerprint, 'num_frames': num_frames}
    for place, leaf in jax.tree_util.tree_leaves_with_path(network):
        content[_LEAF + jax.tree_util.keystr(place)] = np.asarray(leaf)
    if detection is not None:
        content |= {f'detection_{name}': value for name, value in detection._asdict().items()}
    try:
        files.write_arrays(path, content)
    except OSError as error:
        raise UserError(f'cannot write the state to {path}: {error.strerror}') from error


def load(path, network, network_fingerprint):
    """Reads a state.

    Args:
        path: of the .npz.
        network: tree of shapes, the recurrent state of the network that goes on with it.
        network_fingerprint: str, of that network.

    Returns:
        (network, detection, num_frames), as reconstruct.State.

    Raises:
        UserError: the file is missing, no state, damaged, or of another network or shape space.
    """
    content = _read(path)
    if content.get('format') != FORMAT:
        raise UserError(
            f'the state in {path} has format {content.get("format")}, this program reads {FORMAT}: '
            'use the version of the program that wrote it'
        )
    if content['fingerprint'] != network_fingerprint:
        raise UserError(
            f'the state in {path} is of another network or shape space: go on with the run that '
            'wrote it'
        )
    try:
        return _state(content, network)
    except (KeyError, ValueError) as error:
        raise UserError(f'the state in {path} is damaged ({error}): reconstruct again') from error


def fingerprint(settings, variables):
    """Returns what tells one network from another, a hexadecimal str.

    Args:
        settings: str, all that shapes it besides its variables.
        variables: collections of numpy arrays.
    """
    digest = hashlib.sha256(settings.encode())
    for place, leaf in jax.tree_util.tree_leaves_with_path(variables):
        leaf = np.ascontiguousarray(leaf)
        digest.update(f'{jax.tree_util.keystr(place)} {leaf.dtype} {leaf.shape}'.encode())
        digest.update(leaf.data)
    return digest.hexdigest()


def _read(path):
    try:
        with open(path, 'rb') as opened, np.load(opened) as file:
            content = {name: file[name] for name in file.files}
        content |= {name: content[name].item() for name in ('format', 'fingerprint', 'num_frames')}
    except FileNotFoundError as error:
        raise UserError(f'there is no saved state {path}') from error
    except IsADirectoryError as error:
        inside = os.path.join(path, own_files.STATE)
        raise UserError(f'{path} is a folder: give the state in it, {inside}') from error
    except (OSError, AttributeError, *files.DAMAGED_ARRAYS) as error:
        reason = errors.unread(error)
        if reason is not None:
            raise UserError(f'cannot read the state {path}: {reason}') from error
        raise UserError(
            f'{path} is not a saved state, or is damaged: give a file that this program wrote'
        ) from error
    return content


def _state(content, network):
    num_frames = int(content['num_frames'])
    if not num_frames:
        return None, None, 0

    def leaf(place, expected):
        name = _LEAF + jax.tree_util.keystr(place)
        value = content[name]
        if (value.shape, value.dtype) != (expected.shape, expected.dtype):
            raise ValueError(f'{name} is {value.dtype} {value.shape}')
        return jax.numpy.asarray(value)

    network = jax.tree_util.tree_map_with_path(leaf, network)
    if 'detection_box' not in content:
        return network, None, num_frames
    fields = {name: content[f'detection_{name}'] for name in face_detection.DetectedFace._fields}
    fields['found_by'] = fields['found_by'].item()
    return network, face_detection.DetectedFace(**fields), num_frames
