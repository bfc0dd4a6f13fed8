"""Rules of the source tree that no other test sees."""

import ast
import functools
import pathlib
import re

from tests.helpers import syntax_trees

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ('seqface_jax', 'data_prep', 'configs')
FLOOR = ('seqface_jax.errors', 'seqface_jax.files')  # What every room may import.
# Each room imports from those before it only. A package's own modules are its commands.
_LIBRARY_ROOMS = ('commands', 'geometry', 'photos', 'data', 'models.layers', 'models')
_LIBRARY_ROOMS += ('geometric_filter', 'checkpoints', 'training', 'evaluation', 'reconstruction')
_PREPARATION_ROOMS = ('work', 'scans', 'sources', 'registration', 'synthetic', 'hard_pictures')
ROOMS = [f'seqface_jax.{room}' for room in _LIBRARY_ROOMS]
ROOMS += ['seqface_jax', *(f'data_prep.{room}' for room in _PREPARATION_ROOMS), 'data_prep']
ROOMS += ['data_prep.package_files']


@functools.cache
def _sources():
    """Returns the syntax tree of every module that is installed, by its dotted name."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob('*.py')]
    paths += ROOT.glob('run_*.py')
    found = {}
    for path in paths:
        name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        found[name.removesuffix('.__init__')] = syntax_trees.read(path)
    return found


def _imported(tree):
    """Yields the dotted names that a module imports, at its top or inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f'{node.module}.{alias.name}'
                yield name if name in _sources() else node.module


def _is_there(name):
    """Returns whether a dotted name is a module, or what a module or its folder holds."""
    while name.count('.'):
        if name in _sources():
            return True
        name, _, last = name.rpartition('.')
        if name in _sources():
            nodes = [x for top in _sources()[name].body for x in ast.walk(top)]
            defined = {x.name for x in nodes if isinstance(x, ast.FunctionDef | ast.ClassDef)}
            defined |= {x.id for x in nodes if isinstance(x, ast.Name)}
            return last in defined or (ROOT / name.replace('.', '/') / last).exists()
    return True


def test_one_module_alone_touches_orbax():
    users = {
        name
        for name, tree in _sources().items()
        if any(imported.split('.')[0] == 'orbax' for imported in _imported(tree))
    }
    assert users == {'seqface_jax.checkpoints'}


def test_no_module_imports_itself_by_way_of_others():
    """Imports inside functions count: they hide a circle, and do not cut it."""
    sources = _sources()
    arrows = {name: set(_imported(tree)) & sources.keys() for name, tree in sources.items()}
    while True:
        ends = {name for name, targets in arrows.items() if not targets & arrows.keys()}
        if not ends:
            break
        arrows = {name: targets for name, targets in arrows.items() if name not in ends}
    assert not arrows, f'a circle is among {sorted(arrows)}'


def _room_of(name):
    """Returns the folder of a module, dotted; '' of an entry script."""
    is_folder = (ROOT / name.replace('.', '/') / '__init__.py').exists()
    return name if is_folder else name.rpartition('.')[0]


def test_a_room_imports_only_from_rooms_before_it():
    assert {_room_of(name) for name in _sources()} == {'', 'configs', *ROOMS}
    wrong = [
        f'{name} imports {imported}'
        for name, tree in _sources().items()
        if (room := _room_of(name)) in ROOMS
        for imported in set(_imported(tree)) & _sources().keys() - set(FLOOR)
        if ROOMS.index(_room_of(imported)) > ROOMS.index(room)
    ]
    assert not wrong


def test_commands_write_to_the_streams_and_nothing_prints():
    printing = [
        f'{name}:{node.lineno}'
        for name, tree in _sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ('print', 'exit', 'quit')
    ]
    assert not printing


def test_every_module_that_a_text_names_is_there():
    texts = [ROOT / 'README.md', *ROOT.glob('run_*.py')]
    for folder in (*PACKAGES, 'benchmarks', 'docs'):
        texts += [*(ROOT / folder).rglob('*.py'), *(ROOT / folder).rglob('*.md')]
    absent = []
    for path in texts:
        text = path.read_text()
        names = re.findall(r'(?<![\w./])(?:seqface_jax|data_prep)(?:\.\w+)+', text)
        paths = re.findall(r'(?<![\w.])(?:seqface_jax|data_prep)/[a-z_/]+\.\w+', text)
        absent += [f'{path}: {name}' for name in names if not _is_there(name)]
        absent += [f'{path}: {name}' for name in paths if not (ROOT / name).exists()]
    assert not absent
