"""The template: one topology for all kinds of made-up people, read from ICT-FaceKit.

Li, Bladin, Zhao et al., 2020, "Learning formation of physically-based face attributes"; MIT
licence. Vertex k is the same anatomical place on every face.
"""

import functools
import json
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from data_prep.synthetic import ict_facekit

NUM_FACE = 9409  # Vertices 0 to 9408 are the face, with the ears' front and the neck's front.
NUM_SKIN = 11248  # The skin that is seen from outside: face, back of the head, neck.
NUM_USED = 24591  # Vertices after these are tear fluid and lashes, which are not drawn.
MM_PER_UNIT = 10.0  # The files are in cm.
EYE_SLICES = slice(21451, 23021), slice(23021, 24591)  # Vertices of the eyeballs, left first.
_MATERIALS = {
    'skin': ('M_Face', 'M_BackHead'),
    'gums': ('M_GumsTongue',),
    'teeth': ('M_Teeth',),
    'eyes': ('M_ScleraLeft', 'M_IrisLeft', 'M_ScleraRight', 'M_IrisRight'),
}
_NEIGHBOURS = 24  # Skin vertices that carry one inner vertex.
_CARRY_MM = 9.0  # Distance over which their share falls.


class TemplateModel(NamedTuple):
    """One topology with its modes, in mm, x to the subject's left, y up, z out of the face.

    Attributes:
        mean: [NUM_USED, 3] the mean head, nose tip at (0, 0, 90).
        identity: [K, NUM_USED, 3] displacement of one standard deviation of each mode.
        expression_names: of the blendshapes.
        expressions: [E, NUM_USED, 3] displacement of each at weight 1.
        triangles: dict of material to [F, 3] vertex indices.
        landmarks: [68] vertex indices, iBUG order.
        mirror: [NUM_SKIN] the vertex at the mirrored place of each skin vertex.
        carried: sparse [NUM_USED - NUM_SKIN, NUM_SKIN], the shares of the skin's displacement
            that move what lies inside; eyeballs move as a whole.
    """

    mean: np.ndarray
    identity: np.ndarray
    expression_names: tuple
    expressions: np.ndarray
    triangles: dict
    landmarks: np.ndarray
    mirror: np.ndarray
    carried: sparse.csr_matrix

    def with_inside(self, skin):
        """Returns all vertices [NUM_USED, 3] of a head whose skin is [NUM_SKIN, 3] mm."""
        moved = skin - self.mean[:NUM_SKIN]
        inside = self.mean[NUM_SKIN:] + self.carried @ moved
        return np.concatenate([skin, inside]).astype(np.float32)

    def with_expression(self, skin, weights):
        """Returns all vertices [NUM_USED, 3], moved by blendshapes of weights [E]."""
        vertices, used = self.with_inside(skin), np.flatnonzero(weights)
        if len(used):
            moved = weights[used] @ self.expressions[used].reshape(len(used), -1)
            vertices = vertices + moved.reshape(-1, 3)
        return vertices


@functools.lru_cache(maxsize=2)
def read(folder):
    """Reads a FaceXModel folder of ICT-FaceKit.

    Args:
        folder: path of FaceXModel, or of the folder that holds it.

    Raises:
        UserError: the folder is missing or is no FaceXModel.
    """
    folder = ict_facekit.find(folder)
    neutral, by_material = ict_facekit.read_mesh(folder / 'generic_neutral_mesh.obj')
    indices = json.loads((folder / 'vertex_indices.json').read_text())
    landmarks = np.array(indices['idx_to_landmark_verts'])
    names = tuple(indices['expressions'])
    modes = sorted(folder.glob('identity[0-9]*.obj'))

    def displacement(path):
        moved = ict_facekit.read_vertices(path, len(neutral)) - neutral
        return (moved[:NUM_USED] * MM_PER_UNIT).astype(np.float32)

    identity = np.stack([displacement(path) for path in modes])
    expressions = np.stack([displacement(folder / f'{name}.obj') for name in names])
    mean = (neutral[:NUM_USED] * MM_PER_UNIT).astype(np.float32)
    tip = mean[landmarks[30]]
    mean = mean + np.float32([-0.0, -tip[1], 90.0 - tip[2]])
    triangles = {
        material: np.concatenate([by_material[name] for name in of]).astype(np.int32)
        for material, of in _MATERIALS.items()
    }
    _, mirror = cKDTree(mean[:NUM_SKIN]).query(mean[:NUM_SKIN] * np.float32([-1, 1, 1]))
    return TemplateModel(
        mean, identity, names, expressions, triangles, landmarks, mirror, _carried(mean)
    )


def _carried(mean):
    """Returns the shares with which the skin carries what lies inside the head."""
    distance, index = cKDTree(mean[:NUM_SKIN]).query(mean[NUM_SKIN:], _NEIGHBOURS)
    share = np.exp(-0.5 * ((distance - distance[:, :1]) / _CARRY_MM) ** 2)
    share /= share.sum(1, keepdims=True)
    rows = np.repeat(np.arange(len(share)), _NEIGHBOURS)
    shape = (len(share), NUM_SKIN)
    carried = sparse.csr_matrix((share.ravel(), (rows, index.ravel())), shape).tolil()
    for eye in EYE_SLICES:  # The mean share of the ball's front, for the whole ball.
        own = np.arange(eye.start, eye.stop) - NUM_SKIN
        front = own[mean[eye, 2] > np.quantile(mean[eye, 2], 0.8)]
        carried[own] = np.repeat(np.asarray(carried[front].mean(0)), len(own), axis=0)
    return carried.tocsr().astype(np.float32)


def read_uv(folder):
    """Returns the texture coordinates of the face's vertices, [NUM_FACE, 2] in [0, 1], v up."""
    path = ict_facekit.find(folder) / 'generic_neutral_mesh.obj'
    places, material = [], None
    uv = np.zeros((NUM_FACE, 2), np.float32)
    for line in path.read_text().splitlines():
        if line.startswith('vt '):
            places.append([float(value) for value in line.split()[1:3]])
        elif line.startswith('usemtl '):
            material = line.split()[1]
        elif line.startswith('f ') and material == 'M_Face':
            for corner in line.split()[1:]:
                vertex, place = corner.split('/')[:2]
                uv[int(vertex) - 1] = places[int(place) - 1]
    return uv
