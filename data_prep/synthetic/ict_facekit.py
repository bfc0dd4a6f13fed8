"""The face of ICT-FaceKit Light: a mean head, identity modes and ARKit-style expressions.

Li, Bladin, Zhao et al., 2020, "Learning formation of physically-based face attributes". MIT
licence; https://github.com/ICT-VGL/ICT-FaceKit, whose folder FaceXModel is read as it is: one
OBJ file in cm per mode, and vertex_indices.json with the 68 landmarks.
"""

import hashlib
import json
import pathlib

import numpy as np

from data_prep.scans import scan_checks
from data_prep.synthetic.expressions import NAMES
from data_prep.synthetic.mesh_face import FaceData
from seqface_jax.errors import UserError

_NEUTRAL = 'generic_neutral_mesh.obj'
_INDICES = 'vertex_indices.json'
_MM = 10.0  # The files are in cm.
_PIECES = (  # name, material, materials of the file
    ('skin', 'skin', ('M_Face', 'M_BackHead')),
    ('gums', 'gum', ('M_GumsTongue',)),
    ('teeth', 'tooth', ('M_Teeth',)),
    ('left_eye', 'eye', ('M_ScleraLeft',)),
    ('right_eye', 'eye', ('M_ScleraRight',)),
)
# Weight of the shapes in every expression at its apex; 'L R' shapes have both sides alike.
WEIGHTS = {
    'Angry': {'browDown': 1.0, 'eyeSquint': 0.5, 'eyeWide': 0.2, 'mouthPress': 0.6,
              'noseSneer': 0.45, 'mouthFrown': 0.35, 'mouthShrugLower': 0.3},
    'Disgust': {'noseSneer': 1.0, 'mouthUpperUp': 0.7, 'browDown': 0.6, 'eyeSquint': 0.7,
                'cheekSquint': 0.6, 'mouthFrown': 0.4, 'mouthShrugLower': 0.25},
    'Fear': {'browInnerUp': 1.0, 'browOuterUp': 0.4, 'browDown': 0.25, 'eyeWide': 1.0,
             'mouthStretch': 0.8, 'jawOpen': 0.25, 'mouthLowerDown': 0.35},
    'Happy': {'mouthSmile': 0.9, 'cheekSquint': 0.7, 'eyeSquint': 0.35, 'mouthUpperUp': 0.25,
              'mouthDimple': 0.15, 'jawOpen': 0.1},
    'Sad': {'browInnerUp': 1.0, 'browDown': 0.2, 'mouthFrown': 0.9, 'mouthShrugLower': 0.5,
            'eyeSquint': 0.3, 'eyeBlink': 0.15},
    'Surprise': {'browInnerUp': 1.0, 'browOuterUp': 1.0, 'eyeWide': 0.9, 'jawOpen': 0.8,
                 'mouthFunnel': 0.3},
    'blink': {'eyeBlink': 1.0},
}  # fmt: skip


def read(folder):
    """Returns the FaceData of a FaceXModel folder, or of the folder that holds it.

    Raises:
        UserError: the folder is missing, is no FaceXModel, or a file of it is missing or foreign.
    """
    folder = find(folder)
    landmarks = _read_landmarks(folder / _INDICES)
    neutral, by_material = read_mesh(folder / _NEUTRAL)
    wanted = {name for _, _, names in _PIECES for name in names}
    if wanted - set(by_material):
        raise UserError(
            f'{folder / _NEUTRAL}: lacks the material {min(wanted - set(by_material))}; '
            'it is not the neutral mesh of ICT-FaceKit Light.'
        )
    if landmarks.max() >= len(neutral):
        raise UserError(f'{folder / _INDICES}: names vertices that {_NEUTRAL} does not have.')
    pieces = [
        (name, material, np.concatenate([by_material[of] for of in names]))
        for name, material, names in _PIECES
    ]
    used = np.unique(np.concatenate([triangles.ravel() for _, _, triangles in pieces]))
    renumber = np.full(len(neutral), -1, np.int64)
    renumber[used] = np.arange(len(used))

    def displacement(path):
        return (read_vertices(path, len(neutral)) - neutral)[used] * _MM

    modes = sorted(folder.glob('identity[0-9]*.obj'))
    if not modes:
        raise UserError(f'{folder}: holds no identity000.obj; copy the whole folder FaceXModel.')
    shapes = {}
    for weights in WEIGHTS.values():
        for name in [file for shape in weights for file in _files(folder, shape)]:
            if name not in shapes:
                shapes[name] = displacement(folder / f'{name}.obj')
    return FaceData(
        name='ict',
        mean=neutral[used] * _MM,
        identity=np.stack([displacement(path) for path in modes]),
        expressions=np.stack(
            [
                sum(
                    weight * shapes[name]
                    for shape, weight in WEIGHTS[expression].items()
                    for name in _files(folder, shape)
                )
                for expression in (*NAMES, 'blink')
            ]
        ),
        landmarks=renumber[landmarks],
        pieces=[(name, material, renumber[triangles]) for name, material, triangles in pieces],
    )


def find(folder):
    """Returns the FaceXModel folder, which may lie inside the given one."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(f'--face_dir={folder} is not a folder; give FaceXModel of ICT-FaceKit.')
    for place in (folder, folder / 'FaceXModel'):
        if (place / _NEUTRAL).is_file():
            return place
    raise UserError(
        f'--face_dir={folder} holds no {_NEUTRAL}; give the folder FaceXModel of ICT-FaceKit.'
    )


def content_key(folder):
    """Returns a digest of the files that are read of a FaceXModel folder: names and content."""
    folder, digest = find(folder), hashlib.sha256()
    for path in [folder / _INDICES, *sorted(folder.glob('*.obj'))]:
        digest.update(f'{path.name} {hashlib.sha256(_read_bytes(path)).hexdigest()}\n'.encode())
    return digest.hexdigest()


def _files(folder, shape):
    """Returns the shape's files: itself, or its left and its right half."""
    whole = (folder / f'{shape}.obj').is_file()
    return (shape,) if whole else (f'{shape}_L', f'{shape}_R')


def _read_landmarks(path):
    """Returns the 68 landmarks' vertices."""
    try:
        landmarks = json.loads(path.read_text())['idx_to_landmark_verts']
        landmarks = np.array(landmarks, np.int64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path}: its landmarks cannot be read; copy all of FaceXModel.') from error
    if landmarks.shape != (68,) or landmarks.min() < 0:
        raise UserError(f'{path}: has no 68 landmarks in idx_to_landmark_verts.')
    return landmarks


def _read_bytes(path):
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f'{path}: is missing; copy all files of FaceXModel.') from error
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}).') from error


def _vertex_rows(path, data):
    """Returns the lines v of an OBJ file, [V, 3] float64."""
    rows = [line[2:] for line in data.split(b'\n') if line.startswith(b'v ')]
    values = np.array(b' '.join(rows).split())
    try:
        return values.astype(np.float64).reshape(len(rows), 3)
    except ValueError as error:
        raise UserError(f'{path}: a line v does not hold three numbers.') from error


def read_vertices(path, count):
    """Returns the vertices of one mode, [count, 3] cm."""
    vertices = _vertex_rows(path, _read_bytes(path))
    if len(vertices) != count:
        raise UserError(f'{path}: has {len(vertices)} vertices, but {_NEUTRAL} has {count}.')
    return vertices


def read_mesh(path):
    """Returns vertices [V, 3] cm, and {material: [F, 3] triangles}."""
    data = _read_bytes(path)
    vertices = _vertex_rows(path, data)
    faces, rows = {}, None
    for line in data.split(b'\n'):
        if line.startswith(b'usemtl '):
            rows = faces.setdefault(line.split()[1].decode('utf-8', 'replace'), [])
        elif line.startswith(b'f ') and rows is not None:
            rows.append([corner.partition(b'/')[0] for corner in line[2:].split()])
    triangles = {}
    for material, rows in faces.items():
        corners = np.array([corner for row in rows for corner in row])
        try:
            corners = corners.astype(np.int64) - 1
        except ValueError as error:
            raise UserError(f'{path}: a line f holds no vertex numbers.') from error
        if len(corners) and not 0 <= corners.min() <= corners.max() < len(vertices):
            raise UserError(f'{path}: a line f names a vertex that does not exist.')
        triangles[material] = corners[scan_checks.triangulate(np.array([len(row) for row in rows]))]
    return vertices, triangles
