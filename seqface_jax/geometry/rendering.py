"""A mesh as a picture, shaded or in its own colours: numpy, orthographic, z-buffered."""

import numpy as np
from scipy import ndimage

from seqface_jax.geometry import sampling, surface, vectors

_LIGHTS = (  # Direction towards the light as the viewer sees it, strength.
    ((0.0, 0.2, 1.0), 0.55),
    ((-0.8, 0.5, 0.4), 0.35),
    ((0.8, -0.1, 0.3), 0.12),
)
_AMBIENT = 0.08
_SKIN = (224, 198, 182)
_BACKGROUND = 255
_INSIDE = (64, 40, 38)  # What is seen through a hole of the mesh, such as between the lips.
_FRAME_MM = 210.0  # Height and width of the picture in the scene.
_CENTRE_Z_MM = 60.0  # Depth of the point that stays in the middle when the view turns.
_WHOLE_MM = 190.0  # Largest side of what is shown as a whole.
_CHUNK_PX = 1_000_000  # Pixels in boxes of triangles that are looked at together, about.


def whole(vertices):
    """Returns vertices [V, 3] moved and scaled so that `render` shows all of them from any side."""
    low, high = vertices.min(0), vertices.max(0)
    scaled = (vertices - (low + high) / 2) * (_WHOLE_MM / (high - low).max())
    return scaled + [0.0, 0.0, _CENTRE_Z_MM]


def render(
    vertices, triangles, *, azimuth_rad=0.0, size=320, uv=None, texture=None, transparent=False
):
    """Draws a face.

    Args:
        vertices: [V, 3] mm, canonical frame.
        triangles: [F, 3], counter-clockwise from outside; seen from behind they are dark.
        azimuth_rad: 0 is the front; positive turns the face's own left towards the viewer.
        size: of the picture, pixels.
        uv: [V, 2] in [0, 1], v up, for a texture.
        texture: [H, W, 3] uint8 RGB, drawn as it is, for it holds the light of the photos; None:
            the face is of one colour and shaded.
        transparent: what is not face is so, in place of white.

    Returns:
        [size, size, 3] uint8 RGB; [size, size, 4], with alpha, if transparent.
    """
    view = View(vertices, triangles, azimuth_rad, size)
    return view.shaded(transparent) if texture is None else view.painted(uv, texture, transparent)


class View:
    """A face from one side, to be drawn in one or more ways; for the arguments see `render`."""

    def __init__(self, vertices, triangles, azimuth_rad, size):
        """Finds what each pixel shows, which takes longer than to colour it."""
        vertices, triangles = np.asarray(vertices, np.float64), np.asarray(triangles)
        turn = _view(azimuth_rad)
        self._normals = surface.vertex_normals(vertices, triangles) @ turn.T
        seen = (vertices - [0.0, 0.0, _CENTRE_Z_MM]) @ turn.T
        scale = size / _FRAME_MM
        screen = np.stack([size / 2 + scale * seen[:, 0], size / 2 - scale * seen[:, 1]], axis=1)
        self._size = size
        self._pixel, triangle, weights = fragments(screen, seen[:, 2], triangles, size)
        self._corners, self._weights = triangles[triangle], weights[:, :, None]

    def shaded(self, transparent=False):
        """Draws the face of one colour."""
        normal = (self._normals[self._corners] * self._weights).sum(1)
        return self._picture(np.clip(np.outer(_shade(normal), _SKIN), 0, 255), transparent)

    def painted(self, uv, texture, transparent=False):
        """Draws the face in its texture."""
        place = (np.asarray(uv)[self._corners] * self._weights).sum(1)
        return self._picture(sampling.sample_texture(texture, place), transparent)

    def _picture(self, colours, transparent):
        """Returns the picture whose drawn pixels have colours [P, 3]."""
        size = self._size
        image = np.full((size * size, 3), _BACKGROUND, np.uint8)
        drawn = np.zeros(size * size, bool)
        image[self._pixel], drawn[self._pixel] = colours, True
        image, drawn = image.reshape(size, size, 3), drawn.reshape(size, size)
        face = ndimage.binary_fill_holes(drawn)
        image[face & ~drawn] = _INSIDE
        return np.dstack([image, np.where(face, 255, 0).astype(np.uint8)]) if transparent else image


def _view(azimuth_rad):
    cos, sin = np.cos(azimuth_rad), np.sin(azimuth_rad)
    return np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])


def _shade(normals):
    normals = vectors.unit(normals)
    shade = np.full(len(normals), _AMBIENT)
    for direction, strength in _LIGHTS:
        direction = np.array(direction) / np.linalg.norm(direction)
        shade += strength * np.maximum(normals @ direction, 0)
    return shade


def fragments(screen, depth, triangles, size):
    """Returns the nearest triangle of each drawn pixel: pixel, triangle, weights [P, 3]."""
    corners = screen[triangles]
    low = np.clip(np.ceil(corners.min(1) - 0.5), 0, size).astype(np.int64)
    high = np.clip(np.floor(corners.max(1) - 0.5), -1, size - 1).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    last = np.cumsum(extent.prod(1))
    chunks = np.searchsorted(last, np.arange(_CHUNK_PX, last[-1:].sum(), _CHUNK_PX))
    found = [
        _inside(corners[chunk], low[chunk], extent[chunk], chunk)
        for chunk in np.split(np.arange(len(triangles)), chunks)
    ]
    place, triangle, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    pixel = place[:, 1] * size + place[:, 0]
    z = (depth[triangles[triangle]] * weights).sum(1)
    order = np.lexsort([-z, pixel])
    nearest = order[np.r_[True, pixel[order][1:] != pixel[order][:-1]][: len(order)]]
    return pixel[nearest], triangle[nearest], weights[nearest]


def _inside(corners, low, extent, number):
    """Returns the pixels whose middles lie in triangles, and where in them.

    Args:
        corners: [K, 3, 2] px.
        low: [K, 2] the first pixel of each triangle's box; extent: [K, 2] its width and height.
        number: [K] of each triangle.

    Returns:
        place [N, 2], the triangle's number [N] and the barycentric weights [N, 3].
    """
    counts = extent.prod(1)
    start, first, second = corners[:, 0], *(corners[:, k] - corners[:, 0] for k in (1, 2))
    with np.errstate(divide='ignore', invalid='ignore'):
        area = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])[:, None]
        constants = np.concatenate([low - start + 0.5, first / area, second / area], 1)
        index = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        y, x = np.divmod(index, np.repeat(extent[:, 0], counts))
        left, top, first_x, first_y, second_x, second_y = np.repeat(constants.T, counts, axis=1)
        left, top = left + x, top + y
        by_first = left * second_y - top * second_x
        by_second = first_x * top - first_y * left
        by_start = 1 - by_first - by_second
        keep = (by_start >= -1e-9) & (by_first >= -1e-9) & (by_second >= -1e-9)
    # NaN, from triangles seen edge on, is dropped here.
    keep = np.flatnonzero(keep)
    own = np.repeat(np.arange(len(counts)), counts)[keep]
    place = low[own] + np.stack([x[keep], y[keep]], 1)
    return place, number[own], np.stack([by_start, by_first, by_second], 1)[keep]
