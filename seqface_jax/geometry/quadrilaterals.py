"""Quadrilaterals of a mesh whose triangles are their halves."""

import numpy as np


def joined(triangles):
    """Finds the quadrilaterals that were halved to two triangles each, one after the other.

    The halves of (a, b, c, d) are (a, b, c) and (a, c, d), as of a fan.

    Args:
        triangles: [F, 3] int.

    Returns:
        quads [Q, 4], in the triangles' order.
    """
    triangles = np.asarray(triangles)
    first, second = triangles[:-1], triangles[1:]
    fits = (first[:, 0] == second[:, 0]) & (first[:, 2] == second[:, 1])
    taken, chosen = -1, []
    for number in np.flatnonzero(fits).tolist():  # A triangle is half of one quadrilateral only.
        if number > taken:
            chosen.append(number)
            taken = number + 1
    return np.concatenate([first[chosen], second[chosen][:, 2:]], 1)


def without(triangles, quads):
    """Returns the triangles [R, 3] that are no half of `joined`'s quads [Q, 4]."""
    triangles = np.asarray(triangles)
    quads = np.asarray(quads)
    halves = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    known = {tuple(half) for half in halves.tolist()}
    is_left = [tuple(triangle) not in known for triangle in triangles.tolist()]
    return triangles[is_left]
