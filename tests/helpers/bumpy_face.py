"""Made-up faces as position maps: an egg with nose, brows, eye sockets, lips and chin."""

import numpy as np

from seqface_jax.geometry import map_grid, surface

SIZE = 128


def position_map_of(seed, size=SIZE):
    """Returns a face's map [size, size, 3] mm; the seed decides its lengths and bumps."""
    rng = np.random.default_rng(seed)
    traits = rng.normal(size=12)
    directions = map_grid.ray_directions(size)
    azimuth = np.linspace(-map_grid.MAX_AZIMUTH_RAD, map_grid.MAX_AZIMUTH_RAD, size)[None]
    elevation = np.linspace(1, -1, size)[:, None] * map_grid.MAX_ELEVATION_RAD
    radius = 84 + 2 * traits[0] - (9 + traits[1]) * azimuth**2 + (3 + 2 * traits[2]) * elevation**2

    def bump(height, x, y, width, length):
        return height * np.exp(-(((azimuth - x) / width) ** 2) - ((elevation - y) / length) ** 2)

    radius = radius + bump(13 + 2 * traits[3], 0, 0.0, 0.13 + 0.01 * traits[4], 0.09)
    radius = radius + bump(9 + 2 * traits[5], 0, 0.16, 0.09, 0.18)
    for side in (-1, 1):
        radius = radius + bump(-5 - traits[6], 0.36 * side, 0.38, 0.2, 0.11)
        radius = radius + bump(3, 0.36 * side, 0.36, 0.09, 0.06)
        radius = radius + bump(3 + traits[7], 0.34 * side, 0.55, 0.28, 0.08)
        radius = radius + bump(3 + traits[8], 0.6 * side, 0.05, 0.25, 0.25)
    radius = radius + bump(4 + traits[9], 0, -0.28, 0.24, 0.05) + bump(4, 0, -0.38, 0.2, 0.05)
    radius = radius + bump(-2.5, 0, -0.33, 0.28, 0.025)
    radius = radius + bump(6 + 2 * traits[10], 0, -0.68, 0.25, 0.14) + 3 * traits[11] * azimuth**3
    return (radius[..., None] * directions).astype(np.float32)


def mean_map(seeds):
    """Averages faces."""
    return np.mean([position_map_of(seed) for seed in seeds], axis=0).astype(np.float32)


def mask_of(face):
    """Returns the 95 mm crop of a map as a mask."""
    return surface.crop_mask(face)


def scan_of(face, noise_mm=0.15, seed=0):
    """Returns a noisy surface.Surface of the crop, with other vertices than the map's."""
    rng = np.random.default_rng(seed)
    mask = mask_of(face)
    # Middles of the map's cells: the scan shares no vertex with a prediction.
    middles = (face[:-1, :-1] + face[1:, :-1] + face[:-1, 1:] + face[1:, 1:]) / 4
    mask = mask[:-1, :-1] & mask[1:, 1:]
    triangles = map_grid.grid_triangles(mask)
    vertices = middles.reshape(-1, 3) + rng.normal(0, noise_mm, (middles.size // 3, 3))
    return surface.Surface(vertices, triangles)


def sample(face, count, seed=0):
    """Samples points of the whole map's surface, [count, 3] mm, uniformly by area."""
    rng = np.random.default_rng(seed)
    vertices, triangles = surface.from_prediction(face, ordered=True)
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = rng.choice(len(triangles), count, p=area / area.sum())
    u, v = rng.uniform(size=(2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return a[chosen] + u * (b - a)[chosen] + v * (c - a)[chosen]
