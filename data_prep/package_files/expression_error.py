"""How much of the movement of made-up people's expressions is found."""

from typing import NamedTuple

import numpy as np

from seqface_jax.geometry import alignment

STRONGEST = 0.25  # Share of the pictures, those with the strongest expressions, that is judged.


class ExpressionError(NamedTuple):
    """Means over the pictures with the strongest expressions.

    Attributes:
        found: share of the true movement, see `movement_found`.
        moved_mm: root mean square of the true movement over vertices.
        frame_mm: distance of the face with its expression from the truth, rigidly aligned.
        neutral_mm: the same of the neutral face that it moves.
        mean_mm: the same of the mean face.
    """

    found: float
    moved_mm: float
    frame_mm: float
    neutral_mm: float
    mean_mm: float


def movement_found(found, true):
    """Returns the projection of a movement on the true one, as a share of the true one's length.

    Args:
        found, true: [V, 3] mm from the neutral face.
    """
    return float((found * true).sum() / max((true**2).sum(), 1e-12))


def strongest(movements):
    """Returns the indices of the strongest quarter of movements [N, V, 3], the strongest first."""
    order = np.argsort(-np.square(movements).sum((1, 2)))
    return order[: max(1, round(STRONGEST * len(movements)))]


def measure(neutrals, found, truths, true, near, mean_face):
    """Returns the ExpressionError of pictures.

    Args:
        neutrals: [N, V, 3] mm, the reconstructed neutral face of each picture's person.
        found: [N, V, 3] mm, its movement on the picture.
        truths: [N, V, 3] mm, the true neutral face; true: [N, V, 3] mm, its movement.
        near: [V] bool, the vertices that faces are aligned by and compared at.
        mean_face: [V, 3] mm.
    """
    rows = []
    for k in strongest(true):
        shown = truths[k] + true[k]
        rows.append(
            (
                movement_found(found[k], true[k]),
                np.sqrt(np.square(true[k]).sum(-1).mean()),
                _aligned_mm(neutrals[k] + found[k], shown, near),
                _aligned_mm(neutrals[k], shown, near),
                _aligned_mm(mean_face, shown, near),
            )
        )
    return ExpressionError(*(float(value) for value in np.mean(rows, 0)))


def _aligned_mm(face, truth, near):
    """Returns the mean distance of a face to the truth after rigid alignment, both [V, 3] mm."""
    face, truth = face[near].astype(float), truth[near].astype(float)
    rotation, shift = alignment.kabsch(face, truth)
    return np.linalg.norm(face @ rotation.T + shift - truth, axis=1).mean()
