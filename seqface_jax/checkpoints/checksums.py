"""SHA-256 of every array of a tree and of plain values: a damaged byte is found, and named."""

import hashlib
import json

import jax
import numpy as np


def of_arrays(tree):
    """Returns {path of a leaf: hex digest of its type, shape and bytes} of a tree of arrays."""
    digests = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        leaf = np.ascontiguousarray(leaf)
        digest = hashlib.sha256(f'{leaf.dtype}{np.shape(leaf)}'.encode())
        digest.update(leaf.reshape(-1).view(np.uint8))
        digests['/'.join(_name(entry) for entry in path)] = digest.hexdigest()
    return digests


def of_values(values):
    """Returns the hex digest of what JSON can hold, the same before and after it is a file."""
    values = json.loads(json.dumps(values))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def differing(expected, found):
    """Returns the sorted names whose digests differ, or which only one of the dicts has."""
    names = expected.keys() | found.keys()
    return sorted(name for name in names if expected.get(name) != found.get(name))


def _name(entry):
    for field in ('key', 'name', 'idx'):  # Entries of a dict, of an object, of a list or tuple.
        if hasattr(entry, field):
            return str(getattr(entry, field))
    return str(entry)
