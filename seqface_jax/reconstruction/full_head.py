"""The whole head around a face: the template's mean head, carried along by the face. A guess.

Photos from the front do not show the back of a head. Its vertices follow the face by the similarity
that carries the mean face onto the face, and near the face's rim by what is left of it, so that
both meet without a step. full_head.npz holds how far such a guess is off for made-up heads.
"""

import dataclasses
import functools
import os
from typing import NamedTuple

import numpy as np

from seqface_jax.geometry import alignment, quadrilaterals
from seqface_jax.reconstruction import export, head_texture, rigged_glb

NUM_FACE = 9409  # Vertices of the template's face, which come first in every mesh.
FILES = ('head.glb', 'head.obj', 'head.ply')
TOPOLOGY = 'ICT-FaceKit face (vertices 0 to 9408), then the fronts of both eyeballs'
GUESSED = '; vertices {first} to {last}, the rest of the head, are guessed from a mean head'
_PATH = os.path.join(os.path.dirname(__file__), 'full_head.npz')


class MeanHead(NamedTuple):
    """What is behind the template's face.

    Attributes:
        face: [NUM_FACE, 3] mm, the mean face, canonical frame.
        vertices: [H, 3] mm, of the mean head.
        triangles: [F, 3]; up to NUM_FACE - 1 of the face, NUM_FACE + k is vertex k of the head.
        carriers: [H, C] vertices of the face near each of the head's,
        shares: [H, C] of whose displacement it takes so much; their sum falls from 1 at the rim.
        deviation_mm: [H] root mean square error of the guess, of made-up heads.
        blendshape_names: [S] of ARKit; blendshapes: [S, H, 3] mm, what a weight of 1 of each adds.
    """

    face: np.ndarray
    vertices: np.ndarray
    triangles: np.ndarray
    carriers: np.ndarray
    shares: np.ndarray
    deviation_mm: np.ndarray
    blendshape_names: np.ndarray
    blendshapes: np.ndarray


@functools.cache
def mean_head():
    """Returns the MeanHead that comes with the package."""
    with np.load(_PATH) as file:
        return MeanHead(**{name: file[name] for name in MeanHead._fields})


def guess(own, face):
    """Returns the head's vertices [H, 3] mm that go with a face [NUM_FACE, 3] mm.

    Args:
        own: MeanHead.
        face: neutral face, canonical frame.
    """
    scale, rotation, translation = alignment.umeyama(own.face, face)

    def carried(points):
        return scale * points @ rotation.T + translation

    left = face - carried(own.face)
    moved = (left[own.carriers] * own.shares[..., None]).sum(1)
    return carried(own.vertices) + moved


def with_head(face, own=None):
    """Returns a face.Face with the whole head.

    The head's vertices come last, with the confidence of a guess; their colours are those of the
    face's rim, see head_texture.py.

    Args:
        face: of the flagship, neutral, whose first NUM_FACE vertices are the template's face.
        own: MeanHead; the packaged one if left out.
    """
    own = mean_head() if own is None else own
    skin = np.asarray(face.vertices[:NUM_FACE], np.float64)
    first = len(face.vertices)
    triangles = np.where(own.triangles < NUM_FACE, 0, first - NUM_FACE) + own.triangles
    weights = own.shares / own.shares.sum(1, keepdims=True)
    of_face = ((1 / face.confidence[own.carriers] - 1) * weights).sum(1)
    deviation = np.hypot(own.deviation_mm, of_face)
    uv, picture = face.uv, face.texture
    if uv is not None:
        uv = head_texture.moved_uv(uv)
        everything = np.concatenate([own.face, own.vertices])
        behind = head_texture.behind_uv(uv[:NUM_FACE], everything, own.triangles)
        uv = np.concatenate([uv, behind]).astype(np.float32)
    return dataclasses.replace(
        face,
        vertices=np.concatenate([face.vertices, guess(own, skin)]).astype(np.float32),
        triangles=np.concatenate([face.triangles, triangles]).astype(np.int32),
        confidence=np.concatenate([face.confidence, 1 / (1 + deviation)]).astype(np.float32),
        uv=uv,
        texture=None if picture is None else head_texture.framed(picture),
        frame_vertices=None,
        frame=None,
    )


def with_head_shifts(names, shifts, own=None):
    """Returns blendshapes of a face on a whole head, [E, V + H, 3] mm, by names of ARKit.

    Args:
        names: [E] of rigged_glb.ARKIT_NAMES.
        shifts: [E, V, 3] mm, what a weight of 1 of each adds to the face.
        own: MeanHead; the packaged one if left out.
    """
    own = mean_head() if own is None else own
    by_name = dict(zip(own.blendshape_names.tolist(), own.blendshapes, strict=True))
    still = np.zeros_like(own.vertices)
    behind = np.stack([by_name.get(name, still) for name in names])
    return np.concatenate([shifts, behind], 1).astype(np.float32)


def save(folder, face, names, shifts, seconds=(), weights=()):
    """Writes FILES of a face with its whole head; each says which vertices are guessed.

    Args:
        folder: to write into.
        face: as of `with_head`.
        names, shifts: as of `with_head_shifts`; the .glb has them as morph targets.
        seconds, weights: as of rigged_glb.save, how the .glb moves; nothing for one at rest.

    Returns:
        list of str, their paths.
    """
    whole = with_head(face)
    count = len(face.vertices)
    guessed = GUESSED.format(first=count, last=len(whole.vertices) - 1)
    arrays = (whole.vertices, whole.triangles, whole.confidence)
    more = {
        'uv': whole.uv,
        'quads': quadrilaterals.joined(whole.triangles),
        'texture': whole.texture,
        'topology': whole.topology + guessed,
        'texture_light': whole.texture_light,
        'inside': whole.inside,
    }
    paths = [os.path.join(folder, name) for name in FILES]
    rigged, *plain = paths
    mesh = export.make_mesh(*arrays, **more)
    rigged_glb.save(rigged, mesh, names, with_head_shifts(names, shifts), seconds, weights)
    for path in plain:
        export.save(path, *arrays, **more)
    return paths
