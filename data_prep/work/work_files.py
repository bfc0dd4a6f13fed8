"""One file of arrays per finished piece of work: whole or absent, and valid for one key only."""

import contextlib
import hashlib
import json
import os
import zipfile
import zlib

import numpy as np

from seqface_jax import files
from seqface_jax.errors import UserError

# What NumPy and zipfile raise on a file of arrays that was changed or cut.
_DAMAGED = (ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def key_of(*parts):
    """Returns a short digest of strings, bytes, arrays and plain values, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f'{part.dtype}{part.shape}'.encode())
            part = np.ascontiguousarray(part).tobytes()
        elif not isinstance(part, bytes):
            part = json.dumps(part, sort_keys=True).encode()
        digest.update(len(part).to_bytes(8, 'little') + part)
    return digest.hexdigest()[:32]


def save(path, key, arrays):
    """Writes arrays so that a reader finds all of them or no file, even after a kill."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    files.write_atomically(path, lambda file: np.savez(file, key=np.array(key), **arrays))


def is_valid(path, key):
    """Returns whether the file is there, readable and of this key."""
    try:
        with np.load(path) as arrays:
            return str(arrays['key']) == key
    except (OSError, *_DAMAGED):
        return False


def load(path, names=None):
    """Returns {name: array}; of the given names only, where others would cost time."""
    try:
        with np.load(path) as arrays:
            return {name: arrays[name] for name in names or arrays.files if name != 'key'}
    except _DAMAGED as error:
        with contextlib.suppress(OSError):
            os.replace(path, f'{path}.damaged')
        raise UserError(
            f'{path} is damaged ({error}) and was renamed to *.damaged: run the same command '
            'again, which makes it anew'
        ) from error
