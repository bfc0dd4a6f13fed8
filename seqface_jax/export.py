"""A face on disk: PLY for MeshLab, OBJ for everything, NPZ for numpy."""

import os
import tempfile

import numpy as np

from seqface_jax import surface
from seqface_jax.errors import UserError

FORMATS = ('.ply', '.obj', '.npz')


def save(path, vertices, triangles, confidence):
    """Writes a mesh in the format that the path's ending names; the file is whole or absent.

    Args:
        path: ends in .ply, .obj or .npz; its folder is made if missing.
        vertices: [V, 3] mm.
        triangles: [F, 3] int.
        confidence: [V] in [0, 1]; the PLY property `quality`, absent from OBJ.

    Raises:
        UserError: the ending is another.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending == '.glb':
        raise UserError(
            f'cannot write {path}: .glb is not supported yet, save as {", ".join(FORMATS)}'
        )
    if ending not in FORMATS:
        raise UserError(
            f"cannot write {path}: the ending '{ending}' is none of {', '.join(FORMATS)}"
        )
    vertices = np.asarray(vertices, np.float32)
    triangles = np.asarray(triangles, np.int32)
    normals = surface.vertex_normals(vertices.astype(np.float64), triangles).astype(np.float32)
    confidence = np.asarray(confidence, np.float32)
    writers = {'.ply': _write_ply, '.obj': _write_obj, '.npz': _write_npz}
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        writers[ending](file, vertices, normals, triangles, confidence)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _write_ply(file, vertices, normals, triangles, confidence):
    names = ('x', 'y', 'z', 'nx', 'ny', 'nz', 'quality')
    header = ['ply', 'format binary_little_endian 1.0', 'comment unit: mm']
    header.append(f'element vertex {len(vertices)}')
    header += [f'property float {name}' for name in names]
    header += [f'element face {len(triangles)}', 'property list uchar int vertex_indices']
    header.append('end_header\n')
    file.write('\n'.join(header).encode())
    file.write(np.column_stack([vertices, normals, confidence]).astype('<f4').tobytes())
    faces = np.empty(len(triangles), [('count', 'u1'), ('index', '<i4', 3)])
    faces['count'], faces['index'] = 3, triangles
    file.write(faces.tobytes())


def _write_obj(file, vertices, normals, triangles, confidence):
    del confidence  # OBJ has no place for it.
    file.write(b'# unit: mm\n')
    np.savetxt(file, vertices, 'v %.4f %.4f %.4f')
    np.savetxt(file, normals, 'vn %.4f %.4f %.4f')
    np.savetxt(file, np.repeat(triangles + 1, 2, axis=1), 'f %d//%d %d//%d %d//%d')


def _write_npz(file, vertices, normals, triangles, confidence):
    np.savez(file, vertices=vertices, normals=normals, triangles=triangles, confidence=confidence)
