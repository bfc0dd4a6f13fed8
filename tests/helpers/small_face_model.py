"""Writes a tiny face model in the layout of ICT-FaceKit's FaceXModel, for tests.

Its head is the embedded mean head on a thinned grid, in cm and moved, so that what a warp between
the two must give is known: every vertex lies where the embedded head has it.
"""

import json

import numpy as np

from data_prep.synthetic import head, ict_facekit

THINNING = 3  # Every third row and column of the embedded head's grid.
NUM_MODES = 3
SHIFT_CM = np.array([0.0, 0.4, 4.0])
_EYE = ((17.0, 34.7), (26.0, 41.2), (37.0, 41.8), (44.5, 37.0), (37.0, 32.3), (26.0, 31.7))


def _half(points):
    """Returns the mirrored points, in the reverse order, and the points."""
    return [(-x, y) for x, y in reversed(points)] + list(points)


def landmark_places():
    """Returns x and y in mm of the 68 landmarks on the embedded mean head."""
    jaw = [(15, -76), (30, -70), (43, -60), (54, -45), (62, -25), (67, -5), (70, 12), (72, 34)]
    brow = [(11.5, 53.3), (20.5, 55.0), (29.5, 55.5), (38.5, 54.4), (47.5, 51.4)]
    right_eye = [(-_EYE[k][0], _EYE[k][1]) for k in (3, 2, 1, 0, 5, 4)]

    def lip(x, edge):
        return x, float(head.lip_curves(np.array(float(x)))[edge])

    points = [*_half([(0, -78), *jaw])[:8], (0, -78), *jaw, *_half(brow)]
    points += [(0, 37), (0, 25), (0, 12.5), (0, 0.8)]
    points += [(-11.5, -10.3), (-6, -12.3), (0, -12.8), (6, -12.3), (11.5, -10.3)]
    points += [*right_eye, *_EYE]
    points += [lip(x, 0) for x in (-25.5, -17, -7, 0, 7, 17, 25.5)]
    points += [lip(x, 2) for x in (18, 10, 0, -10, -18)]
    # The grid is coarse: the inner edges of the lips are told apart by some distance.
    points += [(x, lip(x, 1)[1] + 1.5) for x in (-22, -10, 0, 10, 22)]
    points += [(x, lip(x, 1)[1] - 3.0) for x in (10, 0, -10)]
    return np.array(points, np.float64)


def _ball(center, radius=14.0):
    polar, around = np.meshgrid(np.linspace(0, np.pi, 9), np.linspace(0, 2 * np.pi, 13))
    directions = [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)]
    return (np.stack(directions, axis=-1) * radius + center).reshape(-1, 3), polar.shape


def _pieces():
    """Returns (material, vertices [N, 3] mm, quads [F, 4]) of every piece."""
    grid = head.mean_head().grid[::THINNING, ::THINNING]
    strip = np.stack(np.meshgrid(np.linspace(-20, 20, 5), [-30.0, -40.0], [55.0]), axis=-1)
    eye = head.EYE_CENTER
    pieces = [
        ('M_Face', grid.reshape(-1, 3), grid.shape[:2]),
        ('M_GumsTongue', strip.reshape(-1, 3) - [0, 0, 3], (2, 5)),
        ('M_Teeth', strip.reshape(-1, 3), (2, 5)),
        ('M_ScleraLeft', *_ball(eye)),
        ('M_ScleraRight', *_ball(eye * [-1, 1, 1])),
        ('M_EyeLashes', strip.reshape(-1, 3) + [0, 70, 20], (2, 5)),
    ]
    result = []
    for material, points, (rows, columns) in pieces:
        index = np.arange(rows * columns).reshape(rows, columns)
        corners = (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:])
        result.append((material, points, np.stack([c.ravel() for c in corners], axis=1)))
    return result


def vertices_mm():
    """Returns the mean face's vertices as the files have them, but in mm and not moved."""
    return np.concatenate([points for _, points, _ in _pieces()])


def mode_mm(k, vertices):
    """Returns the displacement of identity mode k."""
    return (k + 1.0) * np.cos((vertices + 10.0 * k) / 60.0)


def shape_mm(name, vertices):
    """Returns the displacement of an expression shape: the jaw drops, all else shifts a bit."""
    if name == 'jawOpen':
        return np.where(vertices[:, 1:2] < -36.0, [0.0, -20.0, 0.0], 0.0)
    return np.full_like(vertices, len(name) / 100.0)


def shape_files():
    """Returns the names of the shapes that the expressions use, as the files bear them."""
    whole = {'jawOpen', 'mouthFunnel', 'mouthShrugLower'}
    shapes = {name for weights in ict_facekit.WEIGHTS.values() for name in weights}
    return sorted(
        file
        for name in shapes
        for file in ((name,) if name in whole else (f'{name}_L', f'{name}_R'))
    )


def write(folder):
    """Writes the folder; returns its path as a string."""
    folder.mkdir(parents=True, exist_ok=True)
    vertices, lines, first = vertices_mm(), ['mtllib made_up.mtl'], 0
    for material, points, quads in _pieces():
        back = points[quads].mean(axis=1)[:, 2] < -40.0
        parts = [('M_Face', ~back), ('M_BackHead', back)] if material == 'M_Face' else None
        for name, of in parts or [(material, slice(None))]:
            lines.append(f'usemtl {name}')
            lines += ['f ' + ' '.join(f'{v}/{v}' for v in quad + first + 1) for quad in quads[of]]
        first += len(points)

    def write_obj(name, moved):
        values = (moved / 10.0 + SHIFT_CM).ravel().tolist()
        places = ('v %.5f %.5f %.5f\n' * len(moved)) % tuple(values)
        text = places if name != 'generic_neutral_mesh' else places + '\n'.join(lines) + '\n'
        (folder / f'{name}.obj').write_text(text)

    write_obj('generic_neutral_mesh', vertices)
    for k in range(NUM_MODES):
        write_obj(f'identity{k:03d}', vertices + mode_mm(k, vertices))
    for name in shape_files():
        write_obj(name, vertices + shape_mm(name, vertices))
    size = head.mean_head().grid[::THINNING, ::THINNING, 0].size
    front = np.flatnonzero(vertices[:size, 2] > -20.0)
    away = np.linalg.norm(landmark_places()[:, None] - vertices[None, front, :2], axis=2)
    # The foremost of several vertices in one line of sight counts.
    nearest = front[np.argmin(away - 0.02 * vertices[None, front, 2], axis=1)]
    indices = {'idx_to_landmark_verts': nearest.tolist()}
    (folder / 'vertex_indices.json').write_text(json.dumps(indices))
    return str(folder)
