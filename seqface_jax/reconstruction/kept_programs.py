"""Functions whose programs are kept on disk: a later process neither traces nor lowers them.

JAX's compilation cache is asked with a program: to have that, the function must be traced and
lowered first, which takes longer than all that a photo's face itself needs. So the program
(StableHLO, by jax.export) is kept beside what XLA makes of it. Its file begins with a digest of the
program and of all that it was made from: this package's source, the releases, JAX's settings, the
kind of device, what the function closes over and its arguments' shapes. Where the digest is
another, the program is made anew.
"""

import contextlib
import functools
import hashlib
import importlib
import json
import os
import pathlib
import sys

import flax
import jax
import jaxlib
from jax import export

from seqface_jax import files

_PACKAGE = pathlib.Path(__file__).parents[1]
_DIGEST_BYTES = 32


class KeptFunction:
    """A function of trees of arrays, compiled for every new set of shapes; for one device.

    Only what is in `closed_over`, in the package's source or in JAX's settings may change what it
    computes, besides its arguments.
    """

    def __init__(self, function, folder, closed_over, options):
        """Takes the function.

        Args:
            function: of positional arguments.
            folder: where programs are kept; made if missing.
            closed_over: str that says all that it reads besides its arguments.
            options: as `compiler_options` of jax.jit.
        """
        self._function, self._folder = function, folder
        self._closed_over, self._options = closed_over, options
        self._compiled = {}

    def __call__(self, *arguments):
        """Returns what the function does."""
        leaves, tree = jax.tree.flatten(arguments)
        kinds = tuple(jax.typeof(leaf) for leaf in leaves)
        if (tree, kinds) not in self._compiled:
            program, outline = self._program(tree, kinds)
            compiled = jax.jit(program.call, compiler_options=self._options)
            self._compiled[tree, kinds] = compiled, outline
        compiled, outline = self._compiled[tree, kinds]
        return _filled(outline, compiled(*leaves))

    def _program(self, tree, kinds):
        """Returns the jax.export.Exported of the flat function, and the outline of its results."""
        name = f'{self._function.__module__}.{self._function.__qualname__}'
        shapes = [(kind.str_short(), kind.weak_type) for kind in kinds]
        arguments = f'{name} {self._closed_over} {tree} {shapes}'
        # One file for all versions of the source: the newest stays.
        short = hashlib.sha256(arguments.encode()).hexdigest()[:16]
        path = os.path.join(self._folder, f'{self._function.__name__}-{short}')
        made_from = f'{arguments} {_surroundings()}'.encode()
        content = _read(path, made_from)
        if content is None:
            content = self._export(tree, kinds)
            _write(path, made_from, content)
        outline, program = content.split(b'\n', 1)
        return export.deserialize(bytearray(program)), json.loads(outline)

    def _export(self, tree, kinds):
        """Returns the bytes of the outline of the results, of a new line and of the program."""
        outlines = []

        def flat(*leaves):
            results, result_tree = jax.tree.flatten(
                self._function(*jax.tree.unflatten(tree, leaves))
            )
            numbered = jax.tree.unflatten(result_tree, range(len(results)))
            outlines.append(json.dumps(_outline(numbered)))
            return results

        shapes = [
            jax.ShapeDtypeStruct(kind.shape, kind.dtype, weak_type=kind.weak_type) for kind in kinds
        ]
        program = export.export(jax.jit(flat))(*shapes)
        return outlines[-1].encode() + b'\n' + program.serialize()


def _outline(tree):
    """Returns a tree of numbers, tuples, named tuples of this package, dicts and None for JSON."""
    if tree is None or isinstance(tree, int):
        return tree
    if isinstance(tree, dict):
        return {'dict': {name: _outline(child) for name, child in tree.items()}}
    children = [_outline(child) for child in tree]
    kind = type(tree)
    return {'tuple': None if kind is tuple else [kind.__module__, kind.__name__], 'of': children}


def _filled(outline, leaves):
    """Returns the tree of an outline, whose numbers are places in `leaves`."""
    if outline is None:
        return None
    if isinstance(outline, int):
        return leaves[outline]
    if 'dict' in outline:
        return {name: _filled(child, leaves) for name, child in outline['dict'].items()}
    children = [_filled(child, leaves) for child in outline['of']]
    if outline['tuple'] is None:
        return tuple(children)
    module, name = outline['tuple']
    return getattr(importlib.import_module(module), name)(*children)


def _surroundings():
    """Returns a str that says what else a program depends on."""
    releases = sys.version, jax.__version__, jaxlib.__version__, flax.__version__
    settings = sorted(jax.config.values.items())
    return f'{releases} {_source_digest()} {jax.default_backend()} {settings}'


@functools.cache
def _source_digest():
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob('*.py')):
        digest.update(str(path.relative_to(_PACKAGE)).encode() + b'\0' + path.read_bytes() + b'\0')
    return digest.hexdigest()


def _read(path, made_from):
    """Returns what `_write` wrote of the same `made_from`, bytes; None if there is no such file."""
    try:
        with open(path, 'rb') as file:
            digest, content = file.read(_DIGEST_BYTES), file.read()
    except OSError:
        return None
    return content if digest == _digest(made_from, content) else None


def _write(path, made_from, content):
    """Writes bytes, where that is possible."""
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = _digest(made_from, content) + content
        files.write_atomically(path, lambda file: file.write(data))


def _digest(made_from, content):
    return hashlib.sha256(made_from + b'\0' + content).digest()
