"""The template points that the correspondence network finds: landmarks and an even cover."""

import numpy as np

from data_prep.hard_pictures.template_model import NUM_FACE
from data_prep.scans.ray_scene import ray_scene
from seqface_jax.geometry import surface

NUM_POINTS = 500
_REACH_MM = 108.0  # From the nose tip.
_CENTER_WEIGHT = 1.6  # How much closer points lie at the nose than at the rim.


def choose(model, count=NUM_POINTS):
    """Returns the vertices of the points, [count] int32: the 68 landmarks first, then pairs.

    The others are the farthest ones from those chosen, with their mirror images, so that the set is
    its own mirror image.
    """
    points = model.mean[:NUM_FACE]
    tip = points[model.landmarks[30]]
    reach = np.linalg.norm(points - tip, axis=1)
    allowed = (reach < _REACH_MM) & (points[:, 2] > -25) & (points[:, 1] > -75)
    outside = np.zeros(NUM_FACE, bool)
    outside[_seen_from_outside(model)] = True
    allowed &= outside
    chosen = [int(v) for v in model.landmarks]
    distance = np.full(NUM_FACE, np.inf)
    scale = 1 / (1 + (_CENTER_WEIGHT - 1) * np.clip(1 - reach / _REACH_MM, 0, 1))
    for vertex in chosen:
        distance = np.minimum(distance, np.linalg.norm(points - points[vertex], axis=1))
    while len(chosen) < count:
        best = int(np.where(allowed, distance / scale, -1).argmax())
        for vertex in dict.fromkeys((best, int(model.mirror[best]))):
            if len(chosen) < count and vertex not in chosen:
                chosen.append(vertex)
            distance = np.minimum(distance, np.linalg.norm(points - points[vertex], axis=1))
    return np.array(chosen, np.int32)


def mirrored(model, chosen):
    """Returns for each chosen point the number of the one at its mirrored place, [P]."""
    number = {int(vertex): k for k, vertex in enumerate(chosen)}
    return np.array([number.get(int(model.mirror[vertex]), k) for k, vertex in enumerate(chosen)])


def _seen_from_outside(model):
    """Returns the face vertices that some ray from far away reaches."""
    import open3d as o3d

    triangles = model.triangles['skin']
    scene = ray_scene(model.mean, triangles)
    normals = surface.vertex_normals(model.mean, triangles)[:NUM_FACE].astype(np.float32)
    seen = np.zeros(NUM_FACE, bool)
    for direction in ((0, 0, 1), (0.7, 0, 0.7), (-0.7, 0, 0.7), (0, 0.4, 0.9), (0, -0.4, 0.9)):
        starts = model.mean[:NUM_FACE] + 0.8 * normals
        rays = np.concatenate([starts, np.tile(direction, (NUM_FACE, 1))], 1).astype(np.float32)
        hidden = scene.test_occlusions(o3d.core.Tensor(rays), nthreads=1).numpy()
        seen |= ~hidden & (normals @ np.array(direction) > 0.25)
    return np.flatnonzero(seen)
