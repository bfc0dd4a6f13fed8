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
_LARGE_PX = 24  # Triangles with a wider box are drawn one by one.


def whole(vertices):
    """Returns vertices [V, 3] moved and scaled so that `render` shows all of them from any side."""
    low, high = vertices.min(0), vertices.max(0)
    scaled = (vertices - (low + high) / 2) * (_WHOLE_MM / (high - low).max())
    return scaled + [0.0, 0.0, _CENTRE_Z_MM]


def render(vertices, triangles, *, azimuth_rad=0.0, size=320, uv=None, texture=None):
    """Draws a face.

    Args:
        vertices: [V, 3] mm, canonical frame.
        triangles: [F, 3], counter-clockwise from outside; seen from behind they are dark.
        azimuth_rad: 0 is the front; positive turns the face's own left towards the viewer.
        size: of the picture, pixels.
        uv: [V, 2] in [0, 1], v up, for a texture.
        texture: [H, W, 3] uint8 RGB, drawn as it is, for it holds the light of the photos; None:
            the face is of one colour and shaded.

    Returns:
        [size, size, 3] uint8 RGB.
    """
    vertices = np.asarray(vertices, np.float64)
    view = _view(azimuth_rad)
    normals = surface.vertex_normals(vertices, triangles) @ view.T
    seen = (vertices - [0.0, 0.0, _CENTRE_Z_MM]) @ view.T
    scale = size / _FRAME_MM
    screen = np.stack([size / 2 + scale * seen[:, 0], size / 2 - scale * seen[:, 1]], axis=1)
    pixel, triangle, weights = fragments(screen, seen[:, 2], np.asarray(triangles), size)
    image = np.full((size * size, 3), _BACKGROUND, np.uint8)
    if texture is not None and len(pixel):
        place = (np.asarray(uv)[triangles[triangle]] * weights[:, :, None]).sum(1)
        image[pixel] = sampling.sample_texture(texture, place)
    elif len(pixel):
        normal = (normals[triangles[triangle]] * weights[:, :, None]).sum(1)
        image[pixel] = np.clip(np.outer(_shade(normal), _SKIN), 0, 255)
    drawn = np.zeros(size * size, bool)
    drawn[pixel] = True
    drawn = drawn.reshape(size, size)
    image = image.reshape(size, size, 3)
    image[ndimage.binary_fill_holes(drawn) & ~drawn] = _INSIDE
    return image


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
    extent = high - low + 1
    found = []
    small = extent.max(1) <= _LARGE_PX
    widest, highest = extent[small].max(0, initial=0)
    for dy in range(highest):
        for dx in range(widest):
            chosen = np.flatnonzero(small & (extent[:, 0] > dx) & (extent[:, 1] > dy))
            if len(chosen):
                found.append(_inside(corners, chosen, low[chosen] + [dx, dy]))
    for index in np.flatnonzero(~small & (extent.min(1) > 0)):
        grid = np.stack(np.meshgrid(*[np.arange(extent[index, k]) for k in range(2)]), axis=-1)
        place = low[index] + grid.reshape(-1, 2)
        found.append(_inside(corners, np.full(len(place), index), place))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3))
    place, triangle, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    pixel = place[:, 1] * size + place[:, 0]
    z = (depth[triangles[triangle]] * weights).sum(1)
    order = np.lexsort([-z, pixel])
    nearest = order[np.r_[True, pixel[order][1:] != pixel[order][:-1]][: len(order)]]
    return pixel[nearest], triangle[nearest], weights[nearest]


def _inside(corners, index, place):
    """Keeps the pixels [N, 2] whose middles lie in their triangle; with barycentric weights."""
    a, b, c = np.moveaxis(corners[index], 1, 0)
    middle = place + 0.5
    area = _cross(b - a, c - a)
    with np.errstate(divide='ignore', invalid='ignore'):
        weights = np.stack([_cross(b - middle, c - middle), _cross(c - middle, a - middle)], axis=1)
        weights = weights / area[:, None]
    weights = np.concatenate([weights, 1 - weights.sum(1, keepdims=True)], axis=1)
    keep = (weights >= -1e-9).all(1)  # NaN, from triangles seen edge on, is dropped here.
    return place[keep], index[keep], weights[keep]


def _cross(x, y):
    return x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]
