"""A digest of the code behind a work file: the modules it imports and the files that those read."""

import ast
import functools
import importlib.util
import os

import cv2

from data_prep.work import work_files

_PACKAGES = ('data_prep', 'seqface_jax')


def of_modules(*names):
    """Returns a digest of modules, of all they import of this project, and of what those read.

    The cascades that find faces come with OpenCV, so its version is part of it.
    """
    contents = []
    for path in files_of(*names):
        with open(path, 'rb') as file:
            contents.append(file.read())
    return work_files.key_of(cv2.__version__, *contents)


def files_of(*names):
    """Returns the sorted paths of modules, of all they import, and of the files they name.

    A file or a folder of files is read if its name stands as a string in a module beside it, such
    as 'head_pose.npz'. Other packages than this project's are left out.

    Args:
        names: of modules, such as 'data_prep.subject'.
    """
    todo, seen, paths = list(names), set(), set()
    while todo:
        name = todo.pop()
        path = _path_of(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        with open(path, 'rb') as file:
            imports, strings = _read(file.read())
        package = name if os.path.basename(path) == '__init__.py' else name.rpartition('.')[0]
        todo += [name.rpartition('.')[0], *_absolute(imports, package)]
        paths |= {path, *_named_files(strings, os.path.dirname(path))}
    return sorted(paths)


def _path_of(name):
    """Returns the path of a module of this project; None for anything else."""
    if name.partition('.')[0] not in _PACKAGES:
        return None
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # A name inside a module: from x import y.
        return None
    return found.origin if found else None


@functools.cache  # Parsing is slow, and the keys of one preparation share most modules.
def _read(source):
    """Returns the import statements of a module and the strings in it, each a tuple.

    Args:
        source: bytes of the module.
    """
    nodes = list(ast.walk(ast.parse(source)))
    imports = tuple(node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)))
    constants = (node.value for node in nodes if isinstance(node, ast.Constant))
    return imports, tuple(value for value in constants if isinstance(value, str))


def _absolute(imports, package):
    """Yields the names that a module of `package` may import, its functions too."""
    for node in imports:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            parent = package.rsplit('.', node.level - 1)[0] if node.level else ''
            base = '.'.join(filter(None, (parent, node.module)))
            yield base
            yield from (f'{base}.{alias.name}' for alias in node.names)


def _named_files(strings, folder):
    """Yields the paths of the files in `folder`, and in folders there, that `strings` name."""
    for name in set(os.listdir(folder)).intersection(strings):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            yield path
        elif not os.path.exists(os.path.join(path, '__init__.py')):  # No package of modules.
            for parent, _, files in os.walk(path):
                yield from (os.path.join(parent, file) for file in files)
