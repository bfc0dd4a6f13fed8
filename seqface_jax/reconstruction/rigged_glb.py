"""A face with its blendshapes as glTF: morph targets named as ARKit's 52, moved frame by frame.

Khronos, glTF 2.0, sections 3.6.2.3 (sparse accessors), 3.7.2.2 (morph targets), 3.11 (animations).
The names are those of Apple's ARFaceAnchor.BlendShapeLocation, which Blender's add-ons, Unity and
Unreal know. A file is in metres, as the standard wants.
"""

import numpy as np

from seqface_jax import files
from seqface_jax.geometry import surface
from seqface_jax.reconstruction import export

ARKIT_NAMES = tuple(
    """
    browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight
    cheekPuff cheekSquintLeft cheekSquintRight
    eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight
    eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight
    eyeWideLeft eyeWideRight
    jawForward jawLeft jawOpen jawRight
    mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel
    mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker
    mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper
    mouthSmileLeft mouthSmileRight mouthStretchLeft mouthStretchRight
    mouthUpperUpLeft mouthUpperUpRight
    noseSneerLeft noseSneerRight tongueOut
    """.split()
)
# Vertices that a target moves by less, mm, or whose normals it turns by less, are left out of it.
_TINY_MM, _TINY_TURN = 0.02, 0.01
_FLOAT, _UNSIGNED_INT = 5126, 5125  # glTF's names of the component types.


def save(path, mesh, names, shifts, seconds, weights):
    """Writes a face, its blendshapes and how their weights went, whole or not at all.

    All of ARKIT_NAMES are there, in that order; one that is not given moves nothing.

    Args:
        path: of the .glb.
        mesh: what export.make_mesh returned for the neutral face.
        names: [E] of ARKIT_NAMES.
        shifts: [E, V, 3] mm, what a weight of 1 adds to the neutral vertices.
        seconds: [T], increasing from 0; empty for a face that stands still.
        weights: [T, E] in [0, 1].

    Raises:
        ValueError: a name is none of ARKit's, or the shapes disagree.
    """
    shifts = np.asarray(shifts, np.float64)
    weights = np.asarray(weights, np.float64).reshape(-1, len(names))
    if shifts.shape != (len(names), *mesh.vertices.shape) or len(weights) != len(seconds):
        raise ValueError(
            f'{len(names)} names, shifts {shifts.shape}, {len(seconds)} times and '
            f'{len(weights)} rows of weights do not belong together'
        )
    if unknown := sorted(set(names) - set(ARKIT_NAMES)):
        raise ValueError(f'no blendshapes of ARKit: {", ".join(unknown)}')
    places = [ARKIT_NAMES.index(name) for name in names]
    all_weights = np.zeros((len(seconds), len(ARKIT_NAMES)))
    all_weights[:, places] = weights
    given = dict(zip(names, shifts, strict=True))

    def add(buffers, tree, mesh):
        primitive = tree['meshes'][0]['primitives'][0]
        primitive['targets'] = [_target(buffers, tree, mesh, given.get(n)) for n in ARKIT_NAMES]
        tree['meshes'][0]['extras'] = {'targetNames': list(ARKIT_NAMES)}  # As all readers know it.
        tree['meshes'][0]['weights'] = [0.0] * len(ARKIT_NAMES)
        if len(seconds):
            _add_animation(buffers, tree, np.asarray(seconds), all_weights)

    data = export.glb(mesh, add)
    files.write_atomically(path, lambda file: file.write(data))


def _target(buffers, tree, mesh, shift):
    """Adds one morph target; returns the accessors of its positions and normals."""
    if shift is None:
        shift = turn = np.zeros_like(mesh.vertices)
    else:
        moved = mesh.vertices.astype(np.float64) + shift
        turn = surface.vertex_normals(moved, mesh.triangles) - mesh.normals
    moves = np.linalg.norm(shift, axis=1) > _TINY_MM
    turns = np.linalg.norm(turn, axis=1) > _TINY_TURN
    return {
        'POSITION': _sparse(buffers, tree, shift / export.MM_PER_UNIT, moves),
        'NORMAL': _sparse(buffers, tree, turn, turns),
    }


def _sparse(buffers, tree, array, chosen):
    """Adds an accessor of [V, 3] that is zero but at the `chosen` vertices; returns its index."""
    kept = array[chosen].astype('<f4')
    all_values = kept if chosen.all() else np.concatenate([kept, np.zeros((1, 3), '<f4')])
    accessor = {
        'componentType': _FLOAT,
        'count': len(array),
        'type': 'VEC3',
        'min': all_values.min(0).tolist(),
        'max': all_values.max(0).tolist(),
    }
    if chosen.any():
        accessor['sparse'] = {
            'count': int(chosen.sum()),
            'indices': {
                'bufferView': _view(buffers, np.flatnonzero(chosen).astype('<u4')),
                'componentType': _UNSIGNED_INT,
            },
            'values': {'bufferView': _view(buffers, kept)},
        }
    return _accessor(tree, accessor)


def _add_animation(buffers, tree, seconds, weights):
    (node,) = [k for k, node in enumerate(tree['nodes']) if 'mesh' in node]
    samplers = {}
    for name, array in (('input', seconds), ('output', weights)):
        array = np.ascontiguousarray(array, '<f4').reshape(-1)
        accessor = {'bufferView': _view(buffers, array), 'componentType': _FLOAT}
        accessor |= {'count': array.size, 'type': 'SCALAR'}
        accessor |= {'min': [float(array.min())], 'max': [float(array.max())]}
        samplers[name] = _accessor(tree, accessor)
    tree['animations'] = [
        {
            'name': 'expression',
            'samplers': [samplers | {'interpolation': 'LINEAR'}],
            'channels': [{'sampler': 0, 'target': {'node': node, 'path': 'weights'}}],
        }
    ]


def _view(buffers, array):
    """Adds a buffer view; returns its index."""
    buffers[f'rig_{len(buffers)}'] = array.tobytes()
    return len(buffers) - 1


def _accessor(tree, accessor):
    name = f'rig_{len(tree["accessors"])}'
    tree['accessors'][name] = accessor
    return len(tree['accessors']) - 1
