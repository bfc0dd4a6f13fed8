"""The inside of the mouth, which the template's face lacks: what is behind would show through.

The face ends at a loop inside the lips. A bag joined to it closes the mouth. It is a guess and no
part of what is measured: files and pages that show a face have it, after all other vertices. Its
vertices are mixtures of the loop's, so that it goes along with every person and every expression.
"""

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np

from seqface_jax.geometry import quadrilaterals
from seqface_jax.geometry.boundary_loops import boundary_loops

# Width of each ring of the bag as a share of the loop's, and how far it lies behind the loop, mm.
_RINGS = ((0.98, 4.0), (0.92, 9.0), (0.8, 14.0), (0.5, 18.0), (0.0, 20.0))
_DARKNESS = 0.25  # Brightness of the inside, as a share of that of the lips around it.
_SUBPIXELS = 4  # Binary digits of OpenCV's fixed-point numbers.
GUESSED = '; vertices {first} to {last}, the inside of the mouth, are guessed'


class Mouth(NamedTuple):
    """The bag of one topology of N vertices.

    Attributes:
        outer, inner: [12], [8] vertices around the lips, and between them (landmarks).
        loop: [L] vertices of the face around the hole, in the order of the bag's triangles.
        shares: [M, L] of the loop's vertices that make up each of the bag's.
        depths: [M] mm behind them.
        triangles: [F, 3], counter-clockwise from the front, numbered from N on.
    """

    outer: np.ndarray
    inner: np.ndarray
    loop: np.ndarray
    shares: np.ndarray
    depths: np.ndarray
    triangles: np.ndarray

    def joined(self, vertices):
        """Returns faces [..., N, 3] mm and their bags, [..., N + M, 3] mm."""
        bag = self.moved(vertices)
        bag[..., -len(self.depths) :, 2] -= self.depths.astype(bag.dtype)
        return bag

    def opening(self, vertices):
        """Returns how far the lips of a face [N, 3] mm are apart, mm."""
        inner = vertices[self.inner]
        return float(np.linalg.norm(inner[1:4] - inner[:4:-1], axis=1).mean())

    def moved(self, shifts):
        """Returns displacements [..., N, K] of faces and of their bags, [..., N + M, K]."""
        shifts = np.asarray(shifts)
        bag = self.shares.astype(shifts.dtype) @ shifts[..., self.loop, :]
        return np.concatenate([shifts, bag], -2)


def make(triangles, vertices, landmarks):
    """Returns the Mouth of a topology; None if the face has no hole at the inner lips.

    Args:
        triangles: [F, 3]; vertices: [N, 3] mm, of a face at rest.
        landmarks: [68] vertices, iBUG's order.
    """
    inner = vertices[landmarks[60:68]]
    middle, reach = inner.mean(0), np.ptp(inner[:, 0])
    near = np.linalg.norm(vertices - middle, axis=1) < reach
    loops = boundary_loops(triangles[near[triangles].all(1)])
    loops = [loop for loop in loops if np.ptp(vertices[loop, 0]) < 1.5 * reach]
    if not loops:
        return None
    loop = min(loops, key=lambda own: np.linalg.norm(vertices[own].mean(0) - middle))
    return Mouth(landmarks[48:60], landmarks[60:68], loop, *_bag(loop, len(vertices)))


def closed(face):
    """Returns a face.Face with the inside of its mouth, whose confidence is that of a guess."""
    own = face.mouth
    if own is None:
        return face
    deviation = own.shares @ (1 / face.confidence[own.loop] - 1) + own.depths
    first = len(face.vertices)
    end = first + len(own.depths)
    return dataclasses.replace(
        face,
        vertices=own.joined(face.vertices),
        triangles=np.concatenate([face.triangles, own.triangles]),
        confidence=np.concatenate([face.confidence, 1 / (1 + deviation)]).astype(np.float32),
        uv=None if face.uv is None else own.moved(face.uv),
        quads=np.concatenate([face.quads, quadrilaterals.joined(own.triangles)]),
        topology=face.topology + GUESSED.format(first=first, last=end - 1),
        frame_vertices=None if face.frame_vertices is None else own.joined(face.frame_vertices),
        mouth=None,
        inside=slice(first, end),
    )


def darkened(picture, uv):
    """Returns a texture [S, S, 3] uint8 RGB that is dark inside the mouth, whose loop is at uv."""
    hole = np.zeros(picture.shape[:2], np.uint8)
    place = uv * [1, -1] + [0, 1]
    corners = np.rint((place * len(picture) - 0.5) * 2**_SUBPIXELS).astype(np.int32)
    cv2.fillPoly(hole, [corners], 1, shift=_SUBPIXELS)
    around = cv2.dilate(hole, np.ones((3, 3), np.uint8)) > hole
    made = picture.copy()
    made[hole > 0] = np.round(_DARKNESS * picture[around].mean(0))
    return made


def _bag(loop, first):
    """Returns shares, depths and triangles of the bag of a loop [L], numbered from `first` on."""
    count = len(loop)
    shares = [w * np.eye(count) + (1 - w) / count for w, _ in _RINGS[:-1]]
    shares = np.concatenate([*shares, np.full((1, count), 1 / count)]).astype(np.float32)
    depths = np.repeat([depth for _, depth in _RINGS], [count] * (len(_RINGS) - 1) + [1])
    # The face's triangles go along the loop; quadrilaterals (a, b, c, d) go against it, d to a.
    rings = [loop, *(first + np.arange(len(shares) - 1).reshape(-1, count))]
    strips = []
    for outer, inner in zip(rings, rings[1:], strict=False):
        a, b, c, d = outer, inner, np.roll(inner, -1), np.roll(outer, -1)
        strips.append(np.stack([a, b, c, a, c, d], 1).reshape(-1, 3))
    last = rings[-1]
    end = np.full(count, first + len(shares) - 1)
    strips.append(np.stack([last, end, np.roll(last, -1)], 1))
    return shares, depths, np.concatenate(strips).astype(np.int32)
