"""Where things lie on the grid of the position map: the 68 landmarks, and how much a pixel counts.

All faces are in one canonical frame, so that a landmark is a direction, and a region a part of
the grid.
"""

import functools

import numpy as np

from seqface_jax.geometry import map_grid, vectors

# Azimuth and elevation in degrees of the landmarks of iBUG's 300-W scheme, in its order but only
# those of the subject's right and of the middle; measured on the neutral head of ICT-FaceKit
# (MIT licence), fitted to the canonical frame.
_JAW = ((-91, 29.7), (-90.1, 15.3), (-86.2, 0.1), (-81.6, -16.2), (-72.8, -34.5), (-56.2, -48.8),
        (-35.7, -52.1), (-15, -50.4), (0, -51.9))  # fmt: skip
_BROW = ((-54.1, 37.1), (-42.7, 40.1), (-31.5, 41.1), (-19.4, 40.7), (-9.4, 39.6))
_NOSE_BRIDGE = ((0, 28.6), (0, 18.9), (0, 10.5), (0, 1.8))
_NOSTRILS = ((-10.5, -9.2), (-4.7, -8.8), (0, -9.3))
_EYE = ((-43, 28.9), (-34.8, 30.5), (-25.8, 32.4), (-19, 30.9), (-26.1, 27.4), (-35.6, 25.9))
_UPPER_LIP = ((-23.3, -28.1), (-13.7, -21), (-5.5, -17.9), (0, -18.2))
_LOWER_LIP = ((0, -31.3), (-8.4, -31.1), (-15.3, -30.5))
_INNER_UPPER = ((-20.7, -28.6), (-8.3, -25.4), (0, -25.3))
_INNER_LOWER = ((0, -25.9), (-9, -26.1))
NUM_LANDMARKS = 68
OUTER_EYE_CORNERS = (36, 45)  # Their distance is the interocular one of PRNet's protocol.

# PRNet, section 3.3: the ratio of the weights of landmarks, features, face and neck.
WEIGHTS = (16.0, 4.0, 3.0, 0.0)
# Features: ellipses, azimuth and elevation of the middle and half the axes, degrees.
_FEATURES = ((-31, 29.5, 16, 8), (31, 29.5, 16, 8), (0, 8, 14, 23), (0, -25, 27, 11))
_NECK_DEG = -57.0  # Below the chin.
# Regions whose errors are told apart: ranges of |azimuth| and of elevation, degrees, less the
# features. The forehead starts above the brows, the chin below the lips.
_CHEEKS, _FOREHEAD, _CHIN = ((14, 62), (-36, 21)), ((0, 50), (43, 90)), ((0, 30), (_NECK_DEG, -36))


@functools.lru_cache(maxsize=1)
def landmarks_deg():
    """Returns azimuth and elevation of the 68 landmarks, [68, 2] degrees."""

    def mirrored(points):
        return tuple((-azimuth, elevation) for azimuth, elevation in reversed(points))

    left_eye = tuple((-azimuth, elevation) for azimuth, elevation in _EYE)
    return np.array(
        [
            *_JAW, *mirrored(_JAW[:-1]),
            *_BROW, *mirrored(_BROW),
            *_NOSE_BRIDGE,
            *_NOSTRILS, *mirrored(_NOSTRILS[:-1]),
            *_EYE, *(left_eye[i] for i in (3, 2, 1, 0, 5, 4)),
            *_UPPER_LIP, *mirrored(_UPPER_LIP[:-1]), *mirrored(_LOWER_LIP[1:]), *_LOWER_LIP,
            *_INNER_UPPER, *mirrored(_INNER_UPPER[:-1]), *mirrored(_INNER_LOWER[1:]),
            *_INNER_LOWER,
        ]
    )  # fmt: skip


def landmark_pixels(size=map_grid.SIZE):
    """Returns row and column of the landmarks' nearest pixels on a grid, [68, 2] int.

    The upper ends of the jaw lie behind the grid's border: the border stands for them.
    """
    azimuth, elevation = np.radians(landmarks_deg()).T
    row, column = map_grid.pixels_of(azimuth, elevation, size)
    return np.clip(np.rint(np.stack([row, column], axis=1)), 0, size - 1).astype(np.int64)


def regions(size=map_grid.SIZE):
    """Returns the pixels of each region, {name: [size, size] bool}; no pixel is in two."""
    azimuth, elevation = (np.degrees(angle) for angle in map_grid.ray_angles(size))
    eyes = _ellipse(azimuth, elevation, _FEATURES[0]) | _ellipse(azimuth, elevation, _FEATURES[1])
    nose = _ellipse(azimuth, elevation, _FEATURES[2])
    mouth = _ellipse(azimuth, elevation, _FEATURES[3]) & ~nose
    found = {'nose': nose, 'mouth': mouth, 'eyes': eyes & ~nose}
    features = nose | mouth | eyes
    for name, (across, along) in (('cheeks', _CHEEKS), ('forehead', _FOREHEAD), ('chin', _CHIN)):
        wide = (np.abs(azimuth) >= across[0]) & (np.abs(azimuth) <= across[1])
        found[name] = wide & (elevation >= along[0]) & (elevation <= along[1]) & ~features
    found['chin'] &= ~found['cheeks']
    return found


def regions_of(points):
    """Returns the index in `regions` of the region that each of points [N, 3] mm lies in, or -1."""
    angles = vectors.azimuth_elevation(np.asarray(points, np.float64))
    row, column = (np.rint(place).astype(int) for place in map_grid.pixels_of(*angles))
    seen = (row >= 0) & (row < map_grid.SIZE) & (column >= 0) & (column < map_grid.SIZE)
    labels = np.full((map_grid.SIZE, map_grid.SIZE), -1)
    for index, mask in enumerate(regions().values()):
        labels[mask] = index
    return np.where(
        seen, labels[row.clip(0, map_grid.SIZE - 1), column.clip(0, map_grid.SIZE - 1)], -1
    )


def training_weights(size=map_grid.SIZE):
    """Returns how much a pixel of a grid counts in PRNet's loss, [size, size] float32."""
    landmarks, features, face, neck = WEIGHTS
    azimuth, elevation = (np.degrees(angle) for angle in map_grid.ray_angles(size))
    weights = np.where(elevation < _NECK_DEG, neck, face) * np.ones_like(azimuth)
    for feature in _FEATURES:
        weights[_ellipse(azimuth, elevation, feature)] = features
    row, column = landmark_pixels(size).T
    weights[row, column] = landmarks
    weights[row, size - 1 - column] = landmarks  # The middle lies between two columns: both.
    return weights.astype(np.float32)


def _ellipse(azimuth, elevation, feature):
    """Returns the pixels inside one of _FEATURES, bool of the angles' common shape."""
    middle_azimuth, middle_elevation, half_width, half_height = feature
    across = (azimuth - middle_azimuth) / half_width
    along = (elevation - middle_elevation) / half_height
    return across**2 + along**2 <= 1
