"""The front of the template's eyeballs, joined to its face, whose lids leave holes."""

import numpy as np

from data_prep.hard_pictures.template_model import EYE_SLICES

_BEHIND_MM = 1.0  # What of a ball lies further back than this behind its middle is left out.


def eyes(model, canonical, rims, face):
    """Returns the arrays of both eyes, a dict.

    Args:
        model: TemplateModel.
        canonical: function of points in the model's frame.
        rims: two arrays of face vertices around the openings, the left eye first.
        face: [V, 3] mm mean face, canonical frame.

    Returns:
        eye_vertices [N, 3] mm of the mean face, eye_triangles [F, 3] numbered from V on, eye_side
        [N] 0 left, 1 right, and eye_rims [2, R].
    """
    vertices, triangles, sides, first = [], [], [], len(face)
    own = canonical(model.mean)
    for side, piece in enumerate(EYE_SLICES):
        ball = own[piece]
        center = (ball.min(0) + ball.max(0)) / 2
        kept = ball[:, 2] > center[2] - _BEHIND_MM
        number = np.cumsum(kept) - 1
        faces = model.triangles['eyes']
        inside = ((faces >= piece.start) & (faces < piece.stop)).all(1)
        faces = faces[inside] - piece.start
        faces = number[faces[kept[faces].all(1)]] + first
        vertices.append(ball[kept])
        triangles.append(faces)
        sides.append(np.full(kept.sum(), side))
        first += kept.sum()
    count = min(len(rim) for rim in rims)
    return {
        'eye_vertices': np.concatenate(vertices).astype(np.float32),
        'eye_triangles': np.concatenate(triangles).astype(np.int32),
        'eye_side': np.concatenate(sides).astype(np.int8),
        'eye_rims': np.stack([rim[:count] for rim in rims]).astype(np.int32),
    }
