"""The texture of a whole head: that of its face, and around it a frame for what is behind.

The skin behind the face is a ring between the face's rim and the edge below the shoulders. It is
laid into the frame without a seam, and the colours of the face's rim run out smoothly over it. The
strip with the eyeballs comes below.
"""

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from seqface_jax.geometry.boundary_loops import boundary_loops, directed_edges
from seqface_jax.reconstruction import smooth_fill
from seqface_jax.reconstruction.eye_texture import STRIP

_FRAME = 8  # The frame is as wide as one of so many parts of the face's texture.
_WIDE = 1 + 2 / _FRAME  # Side of the head's texture, in sides of the face's.
_OUTWARDS = 0.4  # Power by which what is behind lies farther out, beyond the face's own texels.
_SMOOTH = 0.06  # Deviation of the frame's blur, as a share of the face's texture.


def moved_uv(uv):
    """Returns places [V, 2] of the face's texture, v up, in the head's."""
    down = 1 - uv[:, 1] + np.where(uv[:, 1] > STRIP, 1, 2) / _FRAME
    return np.stack([(uv[:, 0] + 1 / _FRAME) / _WIDE, 1 - down / _WIDE], 1)


def framed(picture):
    """Returns the head's texture, whose side is _WIDE times that of the face's [S, S, 3] uint8."""
    size = len(picture)
    width, height = size // _FRAME, size - int(STRIP * size)
    around = [(width, width), (width, width)]
    known = np.pad(np.ones((height, size), np.float32), around)
    face = np.pad(picture[:height], [*around, (0, 0)])
    filled = smooth_fill.fill(face, known)
    blurred = cv2.GaussianBlur(filled, (0, 0), _SMOOTH * size)
    filled = np.where(known[..., None] > 0, filled, blurred)
    strip = np.pad(picture[height:], [(0, 0), (width, width), (0, 0)], 'edge')
    return np.concatenate([np.rint(filled).astype(np.uint8), strip])


def behind_uv(rim_uv, vertices, triangles):
    """Returns places [H, 2] in the head's texture of what is behind the face.

    How far around the ring and how far out a vertex lies are each the mean of its neighbours'.

    Args:
        rim_uv: [N, 2] places of the face's vertices in the head's texture.
        vertices: [N + H, 3] mm, of face and head.
        triangles: [F, 3] of the head, with the face's rim.
    """
    first = len(rim_uv)
    rim, edge = sorted(boundary_loops(triangles), key=lambda loop: loop.max() >= first)
    rim, rim_share = _around(rim, vertices)
    edge, edge_share = _around(edge, vertices)
    fixed = np.concatenate([rim, edge])
    angle = 2 * np.pi * np.concatenate([rim_share, edge_share])
    values = np.stack([np.cos(angle), np.sin(angle), fixed >= first], 1)
    x, y, out = _means_of_neighbours(triangles, fixed, values, len(vertices))[first:].T
    share = np.arctan2(y, x) / (2 * np.pi)
    inner = [np.interp(share, rim_share, axis, period=1) for axis in rim_uv[rim].T]
    inner = np.stack(inner, 1)
    low = STRIP / _WIDE  # The frame's lower border.
    middle, half = np.array([0.5, (1 + low) / 2]), np.array([0.5, (1 - low) / 2])
    away = inner - middle
    outer = middle + away / np.abs(away / half).max(1, keepdims=True)
    return inner + out[:, None] ** _OUTWARDS * (outer - inner)


def _means_of_neighbours(triangles, fixed, values, count):
    """Returns values [count, C], given at `fixed` vertices, else the neighbours' mean."""
    pairs = directed_edges(triangles)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    near = (sparse.csr_matrix((np.ones(len(pairs)), pairs.T), (count, count)) > 0).astype(float)
    free = np.setdiff1d(np.unique(pairs), fixed)
    degree = sparse.diags(np.asarray(near[free].sum(1)).ravel())
    solved = np.zeros((count, values.shape[1]))
    solved[fixed] = values
    equations = (degree - near[free][:, free]).tocsc()
    solved[free] = linalg.spsolve(equations, near[free][:, fixed] @ values)
    return solved


def _around(loop, vertices):
    """Returns a loop [L] and how far around it each vertex is, [L] in [0, 1).

    It begins in front, where it is lowest, and goes to the subject's left. The front counts more
    than its length, so that what is behind the neck lies on the upper half of the way around.
    """
    places = vertices[loop]
    loop = np.roll(loop, -np.argmin(places[:, 1] + np.abs(places[:, 0])))
    if vertices[loop[1], 0] < vertices[loop[-1], 0]:
        loop = np.roll(loop[::-1], 1)
    closed = vertices[np.append(loop, loop[0])]
    lengths = np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))
    share = np.concatenate([[0], lengths[:-1]]) / lengths[-1]
    return loop, 0.5 + np.sign(share - 0.5) * (0.5 - np.sqrt(0.5 * np.minimum(share, 1 - share)))
