"""How ARKit's eyeLook blendshapes turn the eyeballs, which ICT-FaceKit's shapes leave at rest.

Each front turns about the middle of its ball. What lies far from the pupil turns less and the cut
edge not at all, so that no gap opens behind the lids.
"""

import numpy as np
from scipy.spatial.transform import Rotation

# Angle at weight 1 about x (to the subject's left), y (up): where the upper lid of ICT-FaceKit's
# shape goes along, up and down.
_DEGREES = {'Up': (-15.0, 0.0), 'Down': (25.0, 0.0), 'In': (0.0, -25.0), 'Out': (0.0, 25.0)}
_SIDES = {'Left': 0, 'Right': 1}
# Angles from the ball's front within which all turns fully, and from which nothing turns.
_WHOLE_DEG, _NONE_DEG = 40.0, 85.0


def shifts(vertices, side, names):
    """Returns what a weight of 1 of each blendshape adds to the eyes, [S, N, 3] mm.

    Args:
        vertices: [N, 3] mm, the fronts of both eyeballs.
        side: [N], 0 left, 1 right.
        names: [S], of rigged_glb.ARKIT_NAMES.
    """
    vertices = np.asarray(vertices, np.float64)
    made = np.zeros((len(names), *vertices.shape), np.float32)
    for row, name in enumerate(names):
        direction = next((d for d in _DEGREES if name.startswith(f'eyeLook{d}')), None)
        if direction is None:
            continue
        ball = np.asarray(side) == _SIDES[name.removeprefix(f'eyeLook{direction}')]
        from_middle = vertices[ball] - middle(vertices[ball])
        ahead = np.degrees(np.arccos(from_middle[:, 2] / np.linalg.norm(from_middle, axis=1)))
        share = np.clip((_NONE_DEG - ahead) / (_NONE_DEG - _WHOLE_DEG), 0, 1)
        about_x, about_y = np.radians(_DEGREES[direction])
        if name.endswith('Right'):
            about_y = -about_y
        turns = Rotation.from_rotvec(share[:, None] * [about_x, about_y, 0])
        made[row, ball] = turns.apply(from_middle) - from_middle
    return made


def middle(vertices):
    """Returns the middle [3] of the sphere nearest to vertices [N, 3]."""
    design = np.concatenate([2 * vertices, np.ones((len(vertices), 1))], 1)
    found, *_ = np.linalg.lstsq(design, (vertices**2).sum(1), rcond=None)
    return found[:3]
