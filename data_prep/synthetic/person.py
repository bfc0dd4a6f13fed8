"""One person as a surface: face, hair and clothes, put into a pose and an expression."""

import numpy as np

from data_prep.synthetic import head
from data_prep.synthetic.face import face_model
from data_prep.synthetic.hair import curtain, hair_shell

_NECK = np.array([0.0, -90.0, -25.0])  # The head turns about this point, mm.
# Collar and shoulders; columns as in head._SECTIONS.
_BUST = np.array(
    [
        [-112.0, -98.0, -92.0, 58.0, 20.0, -92.0, -34.0],
        [-113.0, -99.0, -93.0, 66.0, 26.0, -99.0, -35.0],
        [-124.0, -108.0, -103.0, 76.0, 33.0, -104.0, -37.0],
        [-138.0, -122.0, -117.0, 116.0, 44.0, -112.0, -40.0],
        [-158.0, -138.0, -133.0, 168.0, 56.0, -118.0, -42.0],
        [-190.0, -166.0, -160.0, 204.0, 68.0, -122.0, -44.0],
        [-270.0, -268.0, -265.0, 212.0, 80.0, -124.0, -46.0],
    ]
)


def grid_normals(grid):
    """Returns the outward unit normals of a grid of points, [R, C, 3] float32."""
    down, across = np.empty_like(grid), np.empty_like(grid)
    down[1:-1], down[0], down[-1] = grid[2:] - grid[:-2], grid[1] - grid[0], grid[-1] - grid[-2]
    across[:, 1:-1] = grid[:, 2:] - grid[:, :-2]
    across[:, 0], across[:, -1] = grid[:, 1] - grid[:, 0], grid[:, -1] - grid[:, -2]
    a, b = np.moveaxis(down, -1, 0), np.moveaxis(across, -1, 0)
    normal = np.stack(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], axis=-1
    )
    length = np.sqrt((normal * normal).sum(axis=-1, keepdims=True))
    return (normal / np.maximum(length, 1e-12)).astype(np.float32)


def _bust(looks):
    """Returns the grid of collar and shoulders, [R, C, 3] mm."""
    sections = _BUST.copy()
    sections[:3, :3] += looks.collar_height
    rows = np.concatenate([np.linspace(sections[k, 0], sections[k + 1, 0], 6, endpoint=False)
                           for k in range(len(sections) - 1)])  # fmt: skip
    return head.loft(sections, rows, np.linspace(-np.pi, np.pi, 65)).astype(np.float32)


class Person:
    """One identity with its looks.

    Args:
        identity, looks: see below.
        fine: all triangles of the head; else every second column's, enough for small photos.

    Attributes:
        identity: [K] in standard deviations.
        looks: Appearance.
        neutral: [V, 3] float32 mm, the face model's vertices.
        grids: list of (name, first vertex, (rows, columns)) of all parts: the face model's, then
            'hair' and 'curtain' where there are some, then 'bust'.
        triangles: [F, 3] int32 over all parts.
        triangle_part: [F] which of `grids` a triangle is of.
        triangle_cell: [F] the triangle's number in its grid, as head.grid_triangles counts, with
            the head's grid thinned to every column_stride-th column.
    """

    def __init__(self, identity, looks, fine=True):
        self.identity = identity
        self.looks = looks
        self.column_stride = 1 if fine else 2
        self.model = face_model()
        self.neutral = self.model.neutral(identity)
        rows, columns = self.model.head_shape
        grid = self.neutral[: rows * columns].reshape(rows, columns, 3)
        mean_grid = self.model.mean[: rows * columns].reshape(rows, columns, 3)
        self._hair, growing = hair_shell(mean_grid, grid, grid_normals(grid), looks)
        self._curtain = None if self._hair is None else curtain(self._hair, looks)
        self._bust = _bust(looks)
        self._join(growing)

    def _join(self, growing):
        """Lists the triangles of all parts, without those that no camera in front can see."""
        self.grids = list(self.model.grid_offsets)
        first = len(self.neutral)
        kept = {'head': self.model.mean[:, 2] > -55.0}
        parts = {'hair': self._hair, 'curtain': self._curtain, 'bust': self._bust}
        for name, part in parts.items():
            if part is not None:
                self.grids.append((name, first, part.shape[:2]))
                first += part.shape[0] * part.shape[1]
        if growing is not None:
            kept['hair'] = growing.ravel()
        triangles, numbers, cells = [], [], []
        for k, (name, start, shape) in enumerate(self.grids):
            if name == 'head':
                every = np.arange(shape[0] * shape[1]).reshape(shape)[:, :: self.column_stride]
                of_grid = every.ravel()[head.grid_triangles(*every.shape)]
            else:
                of_grid = head.grid_triangles(*shape)
            cell = np.arange(len(of_grid))
            if name in kept:
                cell = cell[kept[name][of_grid].any(axis=1)]
            triangles.append(of_grid[cell] + start)
            numbers.append(np.full(len(cell), k))
            cells.append(cell)
        self.triangles = np.concatenate(triangles)
        self.triangle_part = np.concatenate(numbers)
        self.triangle_cell = np.concatenate(cells)

    def surface(self, expression_weights, blink, rotation, translation):
        """Returns all vertices in the room's frame, [V, 3] float32 mm.

        Args:
            expression_weights: [6].
            blink: in [0, 1].
            rotation: [3, 3] and translation: [3] mm, from the head's frame to the room's.
        """
        moving = self.model.express(self.neutral, expression_weights, blink)
        hair = [part.reshape(-1, 3) for part in (self._hair, self._curtain) if part is not None]
        moving = np.concatenate([moving, *hair])
        moving = moving @ rotation.T.astype(np.float32) + translation.astype(np.float32)
        # The shoulders stay where the neck is, and do not turn with the head.
        neck = _NECK @ rotation.T + translation
        bust = self._bust.reshape(-1, 3) + (neck - _NECK).astype(np.float32)
        return np.concatenate([moving, bust]).astype(np.float32)

    def normals(self, vertices):
        """Returns the unit normal of every vertex, [V, 3] float32."""
        parts = []
        for _, first, (rows, columns) in self.grids:
            grid = vertices[first : first + rows * columns].reshape(rows, columns, 3)
            parts.append(grid_normals(grid).reshape(-1, 3))
        return np.concatenate(parts)


def rotation_matrix(yaw, pitch, roll):
    """Returns the turn of a head, [3, 3]: to its left, downwards, to its right; radians."""
    cosine, sine = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    turn = np.array([[cosine[0], 0, sine[0]], [0, 1, 0], [-sine[0], 0, cosine[0]]])
    nod = np.array([[1, 0, 0], [0, cosine[1], -sine[1]], [0, sine[1], cosine[1]]])
    tilt = np.array([[cosine[2], -sine[2], 0], [sine[2], cosine[2], 0], [0, 0, 1]])
    return turn @ nod @ tilt


def pose_over_time(frames, rng, turn_rad=0.0):
    """Returns rotations [frames, 3, 3] and translations [frames, 3] mm of a moving head.

    Slow sways of up to about 10 degrees about the neck; head frame to room frame.

    Args:
        frames: how many.
        rng: numpy Generator.
        turn_rad: how far the head also turns to its sides; it nods by a third of that. 0: the
            person looks ahead, as in BU-4DFE.
    """
    time = np.linspace(0.0, 1.0, frames) if frames > 1 else np.zeros(1)

    def sway(scale, offset):
        phase, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.2)
        size = abs(rng.normal(0.0, scale))
        return rng.normal(0.0, offset) + size * np.sin(2 * np.pi * speed * time + phase)

    yaw, pitch, roll = (np.radians(sway(*s)) for s in ((4.0, 2.0), (2.5, 1.5), (1.5, 1.2)))
    yaw, pitch, roll = (np.clip(a, -0.19, 0.19) for a in (yaw, pitch, roll))
    if turn_rad:
        phases, speed = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.6, 1.2)
        yaw = yaw + turn_rad * np.sin(2 * np.pi * speed * time + phases[0])
        pitch = pitch + turn_rad / 3 * np.sin(2 * np.pi * speed * time + phases[1])
    shift = np.stack([sway(2.0, 3.0), sway(1.5, 3.0), sway(2.0, 6.0)], axis=1)
    rotations = np.stack(
        [rotation_matrix(*angles) for angles in zip(yaw, pitch, roll, strict=True)]
    )
    translations = _NECK - np.einsum('nij,j->ni', rotations, _NECK) + shift
    return rotations, translations
