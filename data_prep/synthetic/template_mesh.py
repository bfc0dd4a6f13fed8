"""The template topology of all made-up people: the skin of ICT-FaceKit's neutral mesh.

Vertex k is the same anatomical place on every face of every kind. The mean lies in the canonical
frame by the registration that scans take, not by a shift of its own.
"""

import dataclasses

import numpy as np
import open3d as o3d

from data_prep.registration import canonical
from data_prep.scans import cleaning
from data_prep.scans.ray_scene import ray_scene
from data_prep.scans.scan import Scan
from data_prep.synthetic import ict_facekit
from data_prep.synthetic.registration_template import template
from seqface_jax.errors import UserError
from seqface_jax.geometry import surface

NUM_FACE = 9409  # The first vertices are the face with its ears; then head and neck.
NUM_VERTICES = 11248  # Behind them are the sockets of mouth and eyes.
_DIRECTIONS = 200  # In which a vertex may see the outside.
_POCKET_MM = 25.0  # Skin nearer than this blocks a direction.
_POCKET_LIGHT = 0.2  # Share of open directions, below which a vertex is in a pocket.
_LIFT_MM = 0.05  # Rays start this far above the skin.


@dataclasses.dataclass(frozen=True)
class TemplateMesh:
    """The template.

    Attributes:
        mean: [N, 3] float64 mm, in the canonical frame.
        identity: [K, N, 3] float32 mm, displacement of one standard deviation of every mode.
        triangles: [F, 3] int32.
        landmarks: [68] vertex indices, in the order of 300-W.
        rotation, translation: [3, 3] and [3] mm, x @ rotation.T + translation carries the files'
            vertices in mm to the canonical frame.
    """

    mean: np.ndarray
    identity: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


def read(folder, num_vertices=NUM_VERTICES):
    """Returns the TemplateMesh of a FaceXModel folder.

    Args:
        folder: FaceXModel of ICT-FaceKit Light, or the folder that holds it.
        num_vertices: how many vertices of the skin, the first ones, are the template.

    Raises:
        UserError: the folder is no FaceXModel, or its mean face is not found to be a face.
    """
    data = ict_facekit.read(folder)
    skin = next(triangles for _, material, triangles in data.pieces if material == 'skin')
    eyes = [triangles for _, material, triangles in data.pieces if material == 'eye']
    triangles = skin[(skin < num_vertices).all(axis=1)].astype(np.int32)
    if len(np.unique(triangles)) != num_vertices or data.landmarks.max() >= num_vertices:
        raise UserError(
            f'{folder}: its first {num_vertices} vertices are not the skin with the 68 landmarks; '
            'give the unchanged FaceXModel of ICT-FaceKit Light.'
        )
    # Eyeballs close the face for the registration, as they do on a scan.
    surface = np.concatenate([skin, *eyes])
    scan = Scan(np.float32(data.mean + data.shift), surface)
    found, _ = canonical.register(cleaning.compact(scan, surface), template())
    return TemplateMesh(
        mean=found.apply(data.mean[:num_vertices] + data.shift),
        identity=(data.identity[:, :num_vertices] @ found.rotation.T).astype(np.float32),
        triangles=triangles,
        landmarks=data.landmarks,
        rotation=found.rotation,
        translation=found.apply(data.shift[None])[0],
    )


def eye_rims(vertices, triangles, landmarks):
    """Returns the rims of the two eye holes, the subject's left one first.

    Returns:
        two arrays of vertex indices, in order round the hole, from the inner corner over the
        upper lid to the outer corner and back.

    Raises:
        ValueError: there is no hole around the landmarks of an eye.
    """
    edges = np.sort(cleaning.edges_of(triangles).reshape(-1, 2), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    rim = np.unique(unique[counts == 1])
    rims = []
    for corners in ((42, 45), (36, 39)):
        ends = vertices[landmarks[list(corners)]]
        near = np.linalg.norm(vertices[rim] - ends.mean(axis=0), axis=1)
        hole = rim[near < 0.8 * np.linalg.norm(ends[0] - ends[1])]
        if len(hole) < 6:
            raise ValueError('the mesh has no hole between the corners of an eye.')
        rims.append(hole[round_order(vertices[hole])])
    return rims


def round_order(points):
    """Returns the order of points [P, 3] round an eye hole, from its inner corner upwards."""
    outward = np.sign(points[:, 0].mean())
    x, y = points[:, 0] * outward, points[:, 1]
    angle = np.arctan2(y - y.mean(), x.mean() - x)  # 0 towards the nose, then over the top.
    inner = np.argmin(x)
    return np.argsort((angle - angle[inner]) % (2 * np.pi) % (2 * np.pi - 1e-9))


def pockets(vertices, triangles):
    """Returns [N] bool: vertices that see little of the outside: in nostrils and behind the lips.

    The share of open directions is weighted by the cosine to the normal, as is ambient light.
    """
    normals = surface.vertex_normals(vertices, triangles)
    scene = ray_scene(vertices, triangles)
    spiral = (np.arange(_DIRECTIONS) + 0.5) / _DIRECTIONS
    polar, around = np.arccos(1 - 2 * spiral), np.pi * (1 + np.sqrt(5)) * spiral * _DIRECTIONS
    directions = np.stack(
        [np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)], axis=1
    )
    light, total = np.zeros(len(vertices)), np.full(len(vertices), 1e-9)
    start = vertices + _LIFT_MM * normals
    for direction in directions:
        rays = np.concatenate([start, np.tile(direction, (len(start), 1))], axis=1)
        distance = scene.cast_rays(o3d.core.Tensor(np.float32(rays)))['t_hit'].numpy()
        cosine = np.maximum(normals @ direction, 0.0)
        light += cosine * (distance > _POCKET_MM)
        total += cosine
    return light / total < _POCKET_LIGHT
