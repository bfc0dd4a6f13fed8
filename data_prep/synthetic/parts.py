"""Parts of a surface: what the renderer and the scanner ask of a piece of mesh.

A part is a run of vertices with its triangles. It knows its normals, where a hit on one of its
triangles lies on its painted image, and how to carry light that was taken at some vertices to
every hit. Grids (the embedded head, hair, clothes) and free meshes answer alike.
"""

import cv2
import numpy as np
from scipy import sparse

from data_prep.synthetic.head import EYE_RADIUS, grid_triangles

_SAMPLE_STRIDE = 2  # Stride over a grid's rows and columns where light is taken.


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


def grid_place(cell, uv, columns):
    """Returns the row and column, with fractions, of hits on a grid's triangles.

    Args:
        cell: [N] triangle index within the grid.
        uv: [N, 2] weights of the triangle's second and third corner.
        columns: cells side by side in the grid.
    """
    square, upper = cell // 2, cell % 2 == 0
    u, v = uv[:, 0], uv[:, 1]
    row = square // columns + np.where(upper, u, u + v)
    column = square % columns + np.where(upper, v, 1.0 - u)
    return row.astype(np.float32), column.astype(np.float32)


def look_up(image, row, column):
    """Returns bilinear samples of an image at [N] rows and columns."""
    width = 2048  # OpenCV wants maps shorter than 32768 in every direction.
    padded = -(-len(row) // width) * width
    maps = [np.zeros(padded, np.float32) for _ in range(2)]
    maps[0][: len(row)], maps[1][: len(row)] = column, row
    maps = [values.reshape(-1, width) for values in maps]
    found = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(padded, *image.shape[2:])[: len(row)]


class GridPart:
    """A grid of points; its painted image is the grid itself.

    Args:
        name: of the part; material: what the renderer makes of it.
        first: its first vertex in the whole surface.
        shape: rows and columns.
        column_stride: of the triangles; every second column is enough for small photos.
        kept: [R * C] bool; triangles without a kept corner are left out; None keeps all.

    Attributes:
        size: number of vertices.
        triangles: [F, 3] indices into the whole surface.
        cells: [F] what `place` and `light` want to know of a triangle.
        samples: [S] indices into the part where light is taken.
    """

    def __init__(self, name, material, first, shape, column_stride=1, kept=None):
        self.name, self.material, self.first, self.shape = name, material, first, tuple(shape)
        self.size = shape[0] * shape[1]
        self._stride = column_stride
        every = np.arange(self.size).reshape(shape)
        thin = every[:, ::column_stride]
        triangles = thin.ravel()[grid_triangles(*thin.shape)]
        self.cells = np.arange(len(triangles))
        if kept is not None:
            self.cells = self.cells[kept[triangles].any(axis=1)]
        self.triangles = triangles[self.cells] + first
        self._sampled = every[::_SAMPLE_STRIDE, ::_SAMPLE_STRIDE]
        self.samples = self._sampled.ravel()

    def normals(self, vertices):
        """Returns the unit normals of the part's vertices, [size, 3] float32."""
        return grid_normals(vertices.reshape(*self.shape, 3)).reshape(-1, 3)

    def place(self, cells, uv):
        """Returns the row and column of hits, [N] each, in steps of the grid."""
        row, column = grid_place(cells, uv, (self.shape[1] - 1) // self._stride)
        return row, column * self._stride

    def spread(self, values, blur):
        """Returns light at all of the part, for `light`, from values at `samples`, blurred."""
        values = values.astype(np.float32).reshape(self._sampled.shape)
        soft = cv2.GaussianBlur(values, (0, 0), blur)
        return cv2.resize(soft, self.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def light(self, field, cells, uv):
        """Returns what `spread` made, at hits, [N]."""
        return look_up(field, *self.place(cells, uv))

    def eyeball(self, vertices):
        """Returns centre [3] mm, radius mm, forward and side direction [3] of a ball."""
        center = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        forward = (vertices[0] - center) / np.linalg.norm(vertices[0] - center)
        return center, EYE_RADIUS, forward, np.array([1.0, 0.0, 0.0], np.float32)


class MeshPart:
    """Any triangles; their corners say where they lie on a painted image.

    Args:
        name, material, first: as of GridPart.
        mean: [V, 3] mm, the part's vertices in the mean face.
        triangles: [F, 3] indices into the part.
        places: [F, 3, 2] row and column of every corner; None where nothing is painted.

    Attributes: as of GridPart, and
        recess: [V] how far a vertex lies behind the foremost one, mm.
    """

    def __init__(self, name, material, first, mean, triangles, places=None):
        self.name, self.material, self.first, self.size = name, material, first, len(mean)
        self.triangles = triangles + first
        self.cells = np.arange(len(triangles))
        self.samples = np.arange(self.size)
        self.recess = (mean[:, 2].max() - mean[:, 2]).astype(np.float32)
        self._corners = triangles
        self._places = places
        rows, columns = triangles.ravel(), np.repeat(np.arange(len(triangles)), 3)
        ones = np.ones(len(rows), np.float32)
        self._around = sparse.csr_matrix((ones, (rows, columns)), (self.size, len(triangles)))
        self._fit = _sphere_fit(mean) if material == 'eye' else None

    def normals(self, vertices):
        """Returns the unit normals of the part's vertices, [size, 3] float32."""
        a, b, c = (vertices[self._corners[:, k]] for k in range(3))
        normal = self._around @ np.cross(b - a, c - a)
        length = np.sqrt((normal * normal).sum(axis=1, keepdims=True))
        return (normal / np.maximum(length, 1e-12)).astype(np.float32)

    def place(self, cells, uv):
        """Returns the row and column of hits, [N] each; zeros where nothing is painted."""
        if self._places is None:
            return np.zeros((2, len(cells)), np.float32)
        found = np.einsum('nk,nkd->dn', _weights(uv), self._places[cells])
        return np.ascontiguousarray(found, np.float32)

    def spread(self, values, blur):
        """Returns light at all vertices, for `light`, from values at `samples`, blurred."""
        count = np.maximum(self._around.sum(axis=1).A1, 1.0)
        for _ in range(max(1, round(2 * blur))):
            values = self._around @ values[self._corners].mean(axis=1) / count
        return values.astype(np.float32)

    def light(self, field, cells, uv):
        """Returns what `spread` made, at hits, [N]."""
        return np.einsum('nk,nk->n', _weights(uv), field[self._corners[cells]])

    def eyeball(self, vertices):
        """Returns centre [3] mm, radius mm, forward and side direction [3] of a ball."""
        back, apex = self._fit
        center, radius = _sphere(vertices[back])
        forward = (vertices[apex] - center) / np.linalg.norm(vertices[apex] - center)
        side = np.cross([0.0, 1.0, 0.0], forward)
        return center.astype(np.float32), radius, forward, side / np.linalg.norm(side)


def _weights(uv):
    """Returns the weights of a triangle's three corners, [N, 3]."""
    return np.concatenate([1.0 - uv.sum(axis=1, keepdims=True), uv], axis=1)


def _sphere_fit(mean):
    """Returns which vertices of an eyeball lie behind the cornea, and the foremost vertex."""
    depth = mean[:, 2].max() - mean[:, 2]
    return np.flatnonzero(depth > 0.2 * np.ptp(mean[:, 2])), int(np.argmin(depth))


def _sphere(points):
    """Returns centre [3] and radius of the sphere nearest to points, least squares."""
    origin = points.mean(axis=0).astype(np.float64)  # Far from 0 the squares lose digits.
    local = points - origin
    system = np.concatenate([2.0 * local, np.ones((len(points), 1))], axis=1)
    solution = np.linalg.lstsq(system, (local * local).sum(axis=1), rcond=None)[0]
    return solution[:3] + origin, float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))
