"""A face on disk: PLY for MeshLab, OBJ for everything, GLB for Blender and browsers, NPZ for numpy.

PLY, OBJ and NPZ are in mm and say so in a comment (`unit` in the NPZ); glTF allows metres only, so
a GLB holds metres and says in `asset.extras` how many mm its unit has. Axes are alike in all:
right-handed, +x to the subject's left, +y up, +z out of the face, which is glTF's own frame.
"""

import io
import json
import os
import struct
from typing import NamedTuple

import numpy as np

from seqface_jax.errors import UserError
from seqface_jax.files import write_atomically
from seqface_jax.geometry import quadrilaterals, surface
from seqface_jax.geometry.sampling import sample_texture
from seqface_jax.photos import own_files
from seqface_jax.reconstruction import photo_light

FORMATS = ('.ply', '.obj', '.glb', '.npz')
# Most keyframes of an animation; each is a morph target, which viewers hold in memory.
MAX_KEYFRAMES = 32
MM_PER_UNIT = 1000.0  # glTF's unit is the metre.
_SKIN = (0.80, 0.66, 0.58)  # Linear RGB of a face without texture.
_INSIDE = 0.05  # Linear brightness inside its mouth, as a share of the skin's.
_COMPRESSION = 4  # PNG's level: a third of the time of the usual 6, for a twentieth more bytes.
# Arrays of an NPZ file.
_ARRAYS = ('vertices', 'normals', 'triangles', 'confidence', 'uv', 'texture')
# glTF's names of float32, uint32 and of interpolation.
_FLOAT, _UNSIGNED_INT, _LINEAR = 5126, 5125, 'LINEAR'


class Animation(NamedTuple):
    """A moving face, for GLB.

    Attributes:
        vertices: [K, V, 3] mm, the face at each keyframe; between them it moves linearly.
        seconds: [K] float, increasing from 0.
    """

    vertices: np.ndarray
    seconds: np.ndarray


class _Mesh(NamedTuple):
    """What the writers take: arrays as in `save`, float32 and int32, with normals [V, 3]."""

    vertices: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    confidence: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    animation: Animation
    quads: np.ndarray
    topology: str
    texture_light: str
    inside: slice


def save(
    path,
    vertices,
    triangles,
    confidence,
    *,
    uv=None,
    texture=None,
    animation=None,
    quads=None,
    topology=None,
    texture_light=None,
    inside=None,
):
    """Writes a face in the format that the path's ending names; the file is whole or absent.

    Args:
        path: ends in .ply, .obj, .glb or .npz; its folder is made if missing. An OBJ with a
            texture has two files beside it, `<name>.mtl` and `<name>_texture.png`.
        vertices: [V, 3] mm.
        triangles: [F, 3] int, counter-clockwise from outside; None writes points (PLY, NPZ).
        confidence: [V] in [0, 1]; `quality` of the PLY, `_CONFIDENCE` of the GLB; none in OBJ.
        uv: [V, 2] in [0, 1], v up: (0, 1) is the upper left corner of the texture.
        texture: [H, W, 3] uint8 RGB, for which uv is needed; a PLY gets its colours per vertex.
        animation: Animation, written by GLB only, as morph targets. More than MAX_KEYFRAMES
            are thinned evenly; the first and the last stay.
        quads: [Q, 4] int, polygons that `triangles` holds the halves of, see quadrilaterals.py;
            OBJ and NPZ hold them, and the OBJ the triangles that are no halves.
        topology: str, the name of the vertices' order, written into every file.
        texture_light: str, what became of the photos' light in the texture, written likewise.
        inside: slice of the vertices inside the mouth, which are dark where there is no texture:
            PLY, OBJ and GLB have colours per vertex then.

    Raises:
        UserError: the ending is another, or the format cannot hold what is given.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in _WRITERS:
        raise UserError(
            f"cannot write {path}: the ending '{ending}' is none of {', '.join(FORMATS)}"
        )
    if triangles is None and ending in ('.obj', '.glb'):
        raise UserError(f'cannot write {path}: points without triangles go to .ply or .npz')
    mesh = make_mesh(
        vertices,
        triangles,
        confidence,
        uv=uv,
        texture=texture,
        animation=animation,
        quads=quads,
        topology=topology,
        texture_light=texture_light,
        inside=inside,
    )
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    _WRITERS[ending](path, mesh)


def make_mesh(
    vertices,
    triangles,
    confidence,
    *,
    uv=None,
    texture=None,
    animation=None,
    quads=None,
    topology=None,
    texture_light=None,
    inside=None,
):
    """Returns what the writers take, with normals; the arguments are those of `save`."""
    if texture is not None and uv is None:
        raise ValueError('a texture needs uv')
    vertices = np.asarray(vertices, np.float32)
    triangles = np.zeros((0, 3), np.int32) if triangles is None else np.asarray(triangles, np.int32)
    normals = surface.vertex_normals(vertices.astype(np.float64), triangles).astype(np.float32)
    confidence = np.asarray(confidence, np.float32)
    uv = None if uv is None else np.asarray(uv, np.float32)
    quads = None if quads is None else np.asarray(quads, np.int32)
    return _Mesh(
        vertices,
        normals,
        triangles,
        confidence,
        uv,
        texture,
        animation,
        quads,
        topology,
        None if texture is None else texture_light,
        inside,
    )


def _notes(mesh):
    """Returns what the text of a file says of a mesh, a list of str."""
    notes = ['unit: mm'] + ([f'topology: {mesh.topology}'] if mesh.topology else [])
    return notes + ([f'texture light: {mesh.texture_light}'] if mesh.texture_light else [])


def _brightness(mesh):
    """Returns brightness of vertices as a share of skin's, [V, 1]; None: none is dark by itself."""
    if mesh.texture is not None or mesh.inside is None:
        return None
    brightness = np.ones((len(mesh.vertices), 1), np.float32)
    brightness[mesh.inside] = _INSIDE
    return brightness


def _colors(mesh):
    """Returns the vertices' colours, [V, 3] uint8 RGB, or None if nothing tells them."""
    if mesh.texture is not None:
        return sample_texture(mesh.texture, mesh.uv)
    brightness = _brightness(mesh)
    if brightness is None:
        return None
    return np.rint(photo_light.from_linear(brightness * _SKIN)).astype(np.uint8)


def _write_bytes(path, data):
    write_atomically(path, lambda file: file.write(data))


def _write_ply(path, mesh):
    floats = ['x', 'y', 'z', 'nx', 'ny', 'nz', 'quality']
    columns = [mesh.vertices, mesh.normals, mesh.confidence[:, None]]
    layout = [(name, '<f4') for name in floats]
    colors = _colors(mesh)
    if colors is not None:
        layout += [(name, 'u1') for name in ('red', 'green', 'blue')]
    rows = np.empty(len(mesh.vertices), layout)
    for name, column in zip(floats, np.concatenate(columns, axis=1).T, strict=True):
        rows[name] = column
    if colors is not None:
        rows['red'], rows['green'], rows['blue'] = colors.T
    kinds = {'<f4': 'float', 'u1': 'uchar'}
    header = ['ply', 'format binary_little_endian 1.0']
    header += [f'comment {note}' for note in _notes(mesh)]
    header += ['comment quality: confidence in [0, 1]', f'element vertex {len(rows)}']
    header += [f'property {kinds[kind]} {name}' for name, kind in layout]
    header += [f'element face {len(mesh.triangles)}', 'property list uchar int vertex_indices']
    faces = np.empty(len(mesh.triangles), [('count', 'u1'), ('index', '<i4', 3)])
    faces['count'], faces['index'] = 3, mesh.triangles
    header = '\n'.join([*header, 'end_header\n']).encode()
    _write_bytes(path, header + rows.tobytes() + faces.tobytes())


def _write_obj(path, mesh):
    stem = os.path.splitext(path)[0]
    name = os.path.basename(stem)
    lines = [f'# {note}' for note in _notes(mesh)]
    if mesh.texture is not None:
        # The files that the OBJ names come first, so that a whole OBJ names whole files.
        _write_bytes(f'{stem}_texture.png', png(mesh.texture, mesh.texture_light))
        material = ['newmtl face', 'Ka 1 1 1', 'Kd 1 1 1', 'Ks 0 0 0', 'illum 1']
        material.append(f'map_Kd {name}_texture.png\n')
        _write_bytes(f'{stem}.mtl', '\n'.join(material).encode())
        lines += [f'mtllib {name}.mtl', 'usemtl face']
    colors = _colors(mesh) if mesh.texture is None else None
    if colors is None:
        lines += _rows('v %.5f %.5f %.5f', mesh.vertices)
    else:
        colored = np.concatenate([mesh.vertices, colors / 255], 1)
        lines += _rows('v %.5f %.5f %.5f %.3f %.3f %.3f', colored)
    if mesh.uv is not None:
        lines += _rows('vt %.8f %.8f', mesh.uv)
    lines += _rows('vn %.5f %.5f %.5f', mesh.normals)
    corner = '%d//%d' if mesh.uv is None else '%d/%d/%d'
    repeats = 2 if mesh.uv is None else 3
    polygons = [mesh.triangles]
    if mesh.quads is not None:
        polygons = [mesh.quads, quadrilaterals.without(mesh.triangles, mesh.quads)]
    for some in polygons:
        corners = ' '.join([corner] * some.shape[1])
        lines += _rows(f'f {corners}', np.repeat(some + 1, repeats, axis=1))
    _write_bytes(path, ('\n'.join(lines) + '\n').encode())


def _rows(template, array):
    return [template % tuple(row) for row in array.tolist()]


def png(image, light=None):
    """Returns the bytes of a PNG of [H, W, 3] uint8 RGB with this program's mark.

    Args:
        image: the picture.
        light: what became of the photos' light in a texture; None for other pictures.
    """
    from PIL import Image, PngImagePlugin

    mark = PngImagePlugin.PngInfo()
    mark.add_text('Software', own_files.SOFTWARE)
    if light:
        mark.add_text('Comment', f'light: {light}')
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'PNG', pnginfo=mark, compress_level=_COMPRESSION)
    return file.getvalue()


def _write_npz(path, mesh):
    arrays = {
        name: getattr(mesh, name) for name in (*_ARRAYS, 'quads') if getattr(mesh, name) is not None
    }
    for name in ('topology', 'texture_light'):
        if getattr(mesh, name):
            arrays[name] = np.array(getattr(mesh, name))
    write_atomically(path, lambda file: np.savez(file, **arrays, unit=np.array('mm')))


def _write_glb(path, mesh):
    add = None if mesh.animation is None else _add_animation
    _write_bytes(path, glb(mesh, add))


def glb(mesh, add=None):
    """Returns the bytes of a GLB (glTF 2.0, section 4.4).

    Args:
        mesh: what the writers take, see `save`.
        add: None, or a function of buffers (name -> bytes, in the order of the buffer views), tree
            (the glTF as plain values, accessors a dict by name) and mesh that adds to both.
    """
    buffers, tree = {}, _scene(mesh)

    def attribute(name, array, kind):
        return add_accessor(buffers, tree, name, array, kind)

    attributes = {
        'POSITION': attribute('position', mesh.vertices / MM_PER_UNIT, 'VEC3'),
        'NORMAL': attribute('normal', mesh.normals, 'VEC3'),
        '_CONFIDENCE': attribute('confidence', mesh.confidence, 'SCALAR'),
    }
    if mesh.uv is not None:  # The texture's first row is at 0.
        flipped = mesh.uv * np.float32([1, -1]) + np.float32([0, 1])
        attributes['TEXCOORD_0'] = attribute('uv', flipped, 'VEC2')
    brightness = _brightness(mesh)
    if brightness is not None:  # Multiplies the material's colour.
        attributes['COLOR_0'] = attribute('brightness', np.repeat(brightness, 3, 1), 'VEC3')
    indices = attribute('indices', mesh.triangles.reshape(-1), 'SCALAR')
    primitive = {'attributes': attributes, 'indices': indices, 'material': 0}
    tree['meshes'] = [{'name': 'face', 'primitives': [primitive]}]
    if mesh.texture is not None:
        buffers['texture'] = png(mesh.texture, mesh.texture_light)
        tree['images'] = [{'bufferView': len(buffers) - 1, 'mimeType': 'image/png'}]
        tree['textures'] = [{'source': 0}]
    if add is not None:
        add(buffers, tree, mesh)
    return _packed(buffers, tree)


def _scene(mesh):
    """Returns the glTF of a face without its arrays."""
    extras = {'unit': 'metre', 'mm_per_unit': MM_PER_UNIT}
    for name in ('topology', 'texture_light'):
        if getattr(mesh, name):
            extras[name] = getattr(mesh, name)
    look = {'metallicFactor': 0.0, 'roughnessFactor': 0.8}
    if mesh.texture is None:
        look['baseColorFactor'] = [*_SKIN, 1.0]
    else:
        look['baseColorTexture'] = {'index': 0}
    return {
        'asset': {'version': '2.0', 'generator': own_files.SOFTWARE, 'extras': extras},
        'scene': 0,
        'scenes': [{'nodes': [0]}],
        'nodes': [{'name': 'face', 'mesh': 0}],
        'materials': [{'name': 'face', 'doubleSided': True, 'pbrMetallicRoughness': look}],
        'accessors': {},
    }


def add_accessor(buffers, tree, name, array, kind):
    """Adds an array [N] or [N, ...] to buffers and tree, see `glb`; returns its accessor's index.

    Args:
        buffers, tree: as of `glb`.
        name: of the accessor.
        array: integers are stored as uint32, other numbers as float32.
        kind: glTF's name of what an entry is, 'SCALAR' or 'VEC3'.
    """
    is_whole = np.issubdtype(array.dtype, np.integer)
    data = np.ascontiguousarray(array, '<u4' if is_whole else '<f4')
    buffers[name] = data.tobytes()
    flat = data.reshape(len(data), -1)
    tree['accessors'][name] = {
        'bufferView': len(buffers) - 1,
        'componentType': _UNSIGNED_INT if is_whole else _FLOAT,
        'count': len(data),
        'type': kind,
        'min': flat.min(0).tolist(),
        'max': flat.max(0).tolist(),
    }
    return len(tree['accessors']) - 1


def _packed(buffers, tree):
    """Returns the bytes of the GLB of buffers and tree, see `glb`."""
    views, parts, size = [], [], 0
    for data in buffers.values():
        views.append({'buffer': 0, 'byteOffset': size, 'byteLength': len(data)})
        parts.append(data + bytes(-len(data) % 4))
        size += len(parts[-1])
    tree = tree | {
        'accessors': list(tree['accessors'].values()),
        'bufferViews': views,
        'buffers': [{'byteLength': size}],
    }
    text = json.dumps(tree, allow_nan=False, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 4)
    whole = 12 + 8 + len(text) + 8 + size
    chunks = [struct.pack('<4sII', b'glTF', 2, whole)]
    chunks += [struct.pack('<I4s', len(text), b'JSON'), text]
    chunks += [struct.pack('<I4s', size, b'BIN\0'), *parts]
    return b''.join(chunks)


def _add_animation(buffers, tree, mesh):
    """Adds the keyframes as morph targets, and the weights that go from one to the next.

    glTF 2.0, section 3.7.2.2 (morph targets) and 3.11 (animations): the face shown is the mesh plus
    the sum of weight times target, so one weight is 1 at each keyframe and all others are 0.
    """
    vertices, seconds = np.asarray(mesh.animation.vertices), np.asarray(mesh.animation.seconds)
    if len(vertices) != len(seconds) or vertices.shape[1:] != mesh.vertices.shape:
        raise ValueError(f'{len(seconds)} keyframes of {len(mesh.vertices)} vertices needed')
    chosen = np.unique(np.linspace(0, len(seconds) - 1, MAX_KEYFRAMES).round().astype(int))
    vertices, seconds = vertices[chosen], seconds[chosen]

    def accessor(name, array, kind):
        return add_accessor(buffers, tree, name, array, kind)

    targets = []
    for k, moved in enumerate(vertices):
        shift = (moved - mesh.vertices) / MM_PER_UNIT
        turn = surface.vertex_normals(moved.astype(np.float64), mesh.triangles) - mesh.normals
        targets.append(
            {
                'POSITION': accessor(f'position_{k}', shift, 'VEC3'),
                'NORMAL': accessor(f'normal_{k}', turn, 'VEC3'),
            }
        )
    tree['meshes'][0]['primitives'][0]['targets'] = targets
    tree['meshes'][0]['weights'] = [0.0] * len(targets)
    (node,) = [k for k, node in enumerate(tree['nodes']) if 'mesh' in node]
    time = accessor('seconds', seconds[:, None], 'SCALAR')
    weights = accessor('weights', np.eye(len(seconds)).reshape(-1, 1), 'SCALAR')
    tree['animations'] = [
        {
            'name': 'face',
            'samplers': [{'input': time, 'output': weights, 'interpolation': _LINEAR}],
            'channels': [{'sampler': 0, 'target': {'node': node, 'path': 'weights'}}],
        }
    ]


_WRITERS = {'.ply': _write_ply, '.obj': _write_obj, '.glb': _write_glb, '.npz': _write_npz}
