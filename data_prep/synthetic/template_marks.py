"""Matched points of the template and of another kind's mean face: what leads the registration.

Landmarks and the rims of the eye holes are places of template vertices that hold throughout. The
guides (jaw, skull, ears) only lead the first warp: no vertex there has a place of its own.
"""

import numpy as np

from data_prep.synthetic import mesh_face, template_mesh

_JAW = tuple(k for k in range(17) if not 6 < k < 10)  # The chin's landmarks have places.
_JAW_CENTER = np.array([0.0, -10.0, 10.0])
_FAR_MM = 400.0  # Rays towards the head start this far out.
_EAR_TO_FACE = 0.9  # Ears reach further out than this share of the half width at their height.
_EAR_Y = (-25.0, 60.0)
_EAR_Z = (-65.0, 5.0)


def marks(mesh, points, rims):
    """Returns template vertices [L] and their places [L, 3] on the kind's mean surface.

    Args:
        mesh: TemplateMesh.
        points: {landmark: [3] mm} on the kind's mean surface.
        rims: two arrays [P, 3] mm, the kind's rims of the eye holes in any order; the subject's
            left one first.
    """
    order = sorted(points)
    vertices = [mesh.landmarks[order]]
    places = [np.stack([points[k] for k in order])]
    own = template_mesh.eye_rims(mesh.mean, mesh.triangles, mesh.landmarks)
    for rim, goal in zip(own, rims, strict=True):
        at, _ = _round(mesh.mean[rim])
        goal_at, goal = _round(goal[template_mesh.round_order(goal)])
        vertices.append(rim)
        places.append(np.stack([np.interp(at[:-1], goal_at, goal[:, k]) for k in range(3)], axis=1))
    return np.concatenate(vertices), np.concatenate(places)


def _round(points):
    """Returns each point's place on a closed line, 0 at its start and 1 at the outer corner.

    Args:
        points: [P, 3] in order, from the inner corner.

    Returns:
        [P + 1] places, 2 for the first point again at the end, and the P + 1 points.
    """
    closed = np.concatenate([points, points[:1]])
    length = np.linalg.norm(np.diff(closed, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(length)])
    outer = np.argmax(np.abs(points[:, 0]))
    back = 1 + (at - at[outer]) / (at[-1] - at[outer])
    return np.where(np.arange(len(at)) <= outer, at / at[outer], back), closed


def guides(mesh, surface, target, ears=None):
    """Returns matched points of jaw, skull and ears on both mean faces, two [M, 3] mm.

    Args:
        mesh: TemplateMesh.
        surface: template_transfer.CastSurface of the template's mean.
        target: CastSurface of the kind's mean.
        ears: [V, 3] mm, vertices of the kind's mean among which its ears are; None: it has none.
    """
    outward = mesh.mean[mesh.landmarks[list(_JAW)]] - _JAW_CENTER
    jaw = np.concatenate([np.tile(_JAW_CENTER, (len(_JAW), 1)), outward], axis=1)
    rays = mesh_face._skull_rays()  # noqa: SLF001 - the same rays pair these heads there.
    source = [mesh.mean[mesh.landmarks[list(_JAW)]], _from_outside(surface, rays)]
    goal = [_from_outside(target, jaw), _from_outside(target, rays)]
    if ears is not None:
        source.append(_ear_points(mesh.mean))
        goal.append(_ear_points(ears))
    source, goal = np.concatenate(source), np.concatenate(goal)
    known = np.isfinite(source).all(axis=1) & np.isfinite(goal).all(axis=1)
    return source[known], goal[known]


def _from_outside(surface, rays):
    """Returns where rays [N, 6] first meet a surface if they are shot back from far outside."""
    towards = rays[:, 3:] / np.linalg.norm(rays[:, 3:], axis=1, keepdims=True)
    return surface.hits(np.concatenate([rays[:, :3] + _FAR_MM * towards, -towards], axis=1))


def _ear_points(vertices):
    """Returns top, back, lobe and outermost point of both ears, [8, 3] mm."""
    points = []
    for side in (1.0, -1.0):
        y, z, out = vertices[:, 1], vertices[:, 2], vertices[:, 0] * side
        around = (y > _EAR_Y[0]) & (y < _EAR_Y[1]) & (z > _EAR_Z[0]) & (z < _EAR_Z[1])
        ear = vertices[around & (out > _EAR_TO_FACE * out[around].max())]
        x, y, z = ear.T
        points += [ear[k] for k in (np.argmax(y), np.argmin(z), np.argmin(y), np.argmax(x * side))]
    return np.array(points)
