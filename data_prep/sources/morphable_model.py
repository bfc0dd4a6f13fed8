"""Scans from the parameters of a fitted face model: the .mat files of 300W-LP.

The labels of 300W-LP are coefficients of the Basel Face Model of 2009 with the expressions of
3DDFA (Zhu et al., 2016, arXiv:1511.07212). Neither model may be passed on, so its file is the
user's: BFM.mat as face3d's script makes it (a struct `model` of shapeMU, shapePC, expMU, expPC,
tri), or 3DDFA's Model_Shape.mat and Model_Exp.mat. scipy reads them; no pickle is ever opened.
"""

import functools
import os
from typing import NamedTuple

import numpy as np

from data_prep.scans.scan import Scan, ScanError
from seqface_jax.errors import UserError
from seqface_jax.photos import photo_file

SUFFIX = '.mat'
NEUTRAL = 'neutral'  # Sequence of the frames whose scan leaves the pose and the expression out.
_FACE3D = 'BFM.mat'
_3DDFA = ('Model_Shape.mat', 'Model_Exp.mat')
_MICROMETRES_PER_MM = 1000.0  # The unit of the model.
_MAX_BYTES = 1 << 24  # Largest file of parameters; real ones have 5 kB.


class Model(NamedTuple):
    """vertices = mean + shapes @ Shape_Para + expressions @ Exp_Para, three rows a vertex.

    mean: [3 V] mm, +x to the subject's left, +y up, +z out of the face.
    shapes, expressions: [3 V, S] and [3 V, E] mm per unit of a parameter.
    triangles: [F, 3] int32, counter-clockwise from outside.
    """

    mean: np.ndarray
    shapes: np.ndarray
    expressions: np.ndarray
    triangles: np.ndarray


def find_files(folder):
    """Returns the paths of the model's files; raises UserError if they are not in `folder`."""
    for names in ((_FACE3D,), _3DDFA):
        paths = tuple(os.path.join(folder, name) for name in names)
        if all(map(os.path.isfile, paths)):
            return paths
    raise UserError(
        f'the scans of 300W-LP are made with the Basel Face Model 2009, which only its owners give '
        f'out (faces.dmi.unibas.ch): put {_FACE3D} (made by face3d) or {" and ".join(_3DDFA)} '
        f'(of 3DDFA) into {folder}'
    )


@functools.lru_cache(maxsize=1)
def load(paths):
    """Reads the Model of the files that `find_files` returned; raises ScanError."""
    try:
        arrays = _face3d(*paths) if len(paths) == 1 else _3ddfa(*paths)
    except KeyError as error:
        raise ScanError(f'{paths[0]}: has no array {error}; it is no such face model.') from None
    mean, shapes, expressions, triangles = (np.asarray(array) for array in arrays)
    triangles = triangles.astype(np.int64)
    triangles = (triangles if triangles.shape[1] == 3 else triangles.T) - triangles.min()
    if not len(mean) == len(shapes) == len(expressions) == 3 * (triangles.max() + 1):
        raise ScanError(f'{paths[0]}: its arrays do not belong to one mesh.')
    scaled = [np.float32(array / _MICROMETRES_PER_MM) for array in (mean, shapes, expressions)]
    return Model(*scaled, _outward(scaled[0].reshape(-1, 3), triangles).astype(np.int32))


def read_scan(frame):
    """Makes the Scan that the parameters of a frame describe.

    Args:
        frame: sources.RawFrame. scan_path: a .mat file, in a folder beside the model's files. In
            the sequence NEUTRAL the scan is the person's shape alone; in any other it has the
            expression and the rotation, and texture coordinates that are its places in the photo.

    Raises:
        ScanError: the file is not readable or not of this model.
        UserError: the model's files are not there.
    """
    path = frame.scan_path
    names = ('Shape_Para', 'Exp_Para', 'Pose_Para')
    found = _read_mat(path, names, _MAX_BYTES)
    absent = [name for name in names if name not in found]
    if absent:
        raise ScanError(f'{path}: holds no {absent[0]}; it is no file of 300W-LP.')
    shape, expression, pose = (np.ravel(found[name]).astype(np.float64) for name in names)
    model = load(find_files(os.path.dirname(os.path.dirname(os.path.abspath(path)))))
    sizes = model.shapes.shape[1], model.expressions.shape[1]
    if (len(shape), len(expression)) != sizes or len(pose) != 7:
        raise ScanError(f'{path}: is of another face model ({len(shape)} shapes, not {sizes[0]}).')
    if not all(np.isfinite(values).all() for values in (shape, expression, pose)):
        raise ScanError(f'{path}: its parameters are not finite.')
    vertices = model.mean + model.shapes @ shape
    if frame.sequence == NEUTRAL:
        return Scan(np.float32(vertices.reshape(-1, 3)), model.triangles)
    vertices = (vertices + model.expressions @ expression).reshape(-1, 3)
    vertices = vertices @ rotation(pose[:3]).T
    uv = None
    if frame.image_path is not None:
        height, width = photo_file.read(frame.image_path).shape[:2]
        places = pose[6] * _MICROMETRES_PER_MM * vertices[:, :2] + pose[3:5]
        uv = np.float32((places + [0, 1]) / [width, height])  # face3d: row = height - y - 1.
    return Scan(np.float32(vertices), model.triangles, uv)


def rotation(angles_rad):
    """Returns the rotation [3, 3] of Pose_Para's pitch, yaw and roll; 3DDFA's: R = Rx Ry Rz."""
    (cos_x, cos_y, cos_z), (sin_x, sin_y, sin_z) = np.cos(angles_rad), np.sin(angles_rad)
    about_x = np.array([[1, 0, 0], [0, cos_x, sin_x], [0, -sin_x, cos_x]])
    about_y = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    about_z = np.array([[cos_z, sin_z, 0], [-sin_z, cos_z, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _face3d(path):
    model = _read_mat(path, ('model',))['model']
    fields = {name: model[name][0, 0] for name in model.dtype.names or ()}
    mean = np.ravel(fields['shapeMU']) + np.ravel(fields['expMU'])
    return mean, fields['shapePC'], fields['expPC'], fields['tri']


def _3ddfa(shape_path, expression_path):
    shape = _read_mat(shape_path, ('mu_shape', 'w', 'tri'))
    expression = _read_mat(expression_path, ('mu_exp', 'w_exp'))
    mean = np.ravel(shape['mu_shape']) + np.ravel(expression['mu_exp'])
    return mean, shape['w'], expression['w_exp'], shape['tri']


def _read_mat(path, names, max_bytes=None):
    """Returns {name: array} of those of `names` that the file has."""
    from scipy import io  # Half a second, and only this source needs it.

    try:
        if max_bytes and os.path.getsize(path) > max_bytes:
            raise ScanError(f'{path}: larger than {max_bytes} bytes; it holds no parameters.')
        with open(path, 'rb') as file:
            return io.loadmat(file, variable_names=names)
    except (ScanError, ImportError, MemoryError):
        raise
    except NotImplementedError:
        raise ScanError(f'{path}: is of MATLAB 7.3; save it with -v7.') from None
    except Exception as error:  # noqa: BLE001 - its parser raises many kinds on damaged files.
        if isinstance(error, OSError) and error.errno is not None:  # Its own have no number.
            raise ScanError(f'{path}: cannot be read ({error.strerror}).') from None
        raise ScanError(
            f'{path}: not a readable MATLAB file ({type(error).__name__}: {error}).'
        ) from None


def _outward(vertices, triangles):
    """Returns the triangles wound so that the front of the face looks along +z."""
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    faces_front = np.cross(b - a, c - a)[:, 2].sum() > 0
    return triangles if faces_front else triangles[:, ::-1]
