"""The eyeballs' place in the texture, and the colour of what no photo shows of them.

The texture holds the face, and below it one disc for each eyeball, with the pupil in its middle.
The distance from there grows with the angle from the pupil. What the lids hide is guessed to have
the colour of what is seen at the same angle, so that an iris comes out round.
"""

import cv2
import numpy as np

from seqface_jax.reconstruction import eye_turns

STRIP = 0.075  # Height of the strip that holds the discs, as a share of the texture's side.
_RADIUS = 0.031  # A disc's radius, as a share of the texture's side; around it is a free gap.
_MIDDLES = np.array([[0.6, 0.034], [0.4, 0.034]])  # (u, v) of the left and the right disc.
_EDGE_DEG = 101.0  # Angle from the pupil at the edge of a disc; nothing lies beyond.
_STEEP = 0.9  # Share of sine's quarter period up to the edge: the front gets most texels.
_BEYOND = 1.2  # Radii up to which discs are filled: a little more, for reading between texels.
_RINGS = 24  # From the pupil to the edge of a disc.
_SEEN = 0.25  # How well a texel is seen, as a share of the best, from which on nothing is guessed.
_LEAST = 0.25  # Weight of a ring, as a share of the largest, from which it tells a colour.
_OPENING = 0.8  # Share of the opening between the lids that surely shows the eyeball.


def joined_uv(face_uv, eye_vertices, side):
    """Returns the texture coordinates of a face and its eyeballs, [V + N, 2] float32, v up.

    Args:
        face_uv: [V, 2] in [0, 1], of the face alone.
        eye_vertices: [N, 3] mm, the fronts of both eyeballs.
        side: [N] 0 left, 1 right.
    """
    places = np.zeros((len(eye_vertices), 2))
    for eye, middle in enumerate(_MIDDLES):
        ball = np.asarray(eye_vertices, np.float64)[side == eye]
        away = ball - eye_turns.middle(ball)
        angle_deg = np.degrees(np.arctan2(np.linalg.norm(away[:, :2], axis=1), away[:, 2]))
        share = np.minimum(angle_deg / _EDGE_DEG, 1)
        distance = _RADIUS * np.sin(_STEEP * np.pi / 2 * share) / np.sin(_STEEP * np.pi / 2)
        across = np.linalg.norm(away[:, :2], axis=1, keepdims=True)
        places[side == eye] = middle + distance[:, None] * away[:, :2] / np.maximum(across, 1e-9)
    above = face_uv * [1, 1 - STRIP] + [0, STRIP]
    return np.concatenate([above, places]).astype(np.float32)


def unseen(pose, points, rims):
    """Returns which texels of eyeballs lie outside the opening between the lids, [M, M] bool.

    Args:
        pose: Pose of the face in a photo.
        points: [M, M, 3] mm, of the texels.
        rims: [2, R, 3] mm, around the openings.
    """
    hidden = np.zeros(points.shape[:2], bool)
    for distance, rim in zip(_distances(len(points)), pose.project(rims), strict=True):
        row, column = np.nonzero(distance < _BEYOND)
        row += len(points) - len(distance)
        middle = rim.mean(0)
        hull = cv2.convexHull((middle + _OPENING * (rim - middle)).astype(np.float32))
        place = pose.project(points[row, column]).tolist()
        inside = [cv2.pointPolygonTest(hull, point, measureDist=False) for point in place]
        hidden[row, column] = np.array(inside) < 0
    return hidden


def fill(picture, weights):
    """Returns a texture whose eyeballs have, where nothing was seen, the colour seen at that angle.

    Args:
        picture: [S, S, 3] uint8 RGB.
        weights: [S, S], of the details of a texture.Texture.
    """
    strip = _distances(len(picture)).min(0)
    discs = np.nonzero(strip < _BEYOND)
    distance = strip[discs]
    discs = (discs[0] + len(picture) - len(strip), discs[1])
    colors, weights = picture[discs].astype(float), weights[discs]
    if weights.max() <= 0:
        return picture
    known = np.clip(np.cbrt(weights / weights.max()) / _SEEN, 0, 1)
    guess = _profile(colors, known, distance)(distance)
    filled = picture.copy()
    filled[discs] = np.round(guess + known[:, None] * (colors - guess))
    return filled


def _profile(colors, known, distance):
    """Returns a function from distances [N] to the mean colours [N, 3] of what is seen there."""
    ring = np.minimum((distance * _RINGS).astype(int), _RINGS - 1)
    total = np.bincount(ring, known, _RINGS)
    seen = np.flatnonzero(total > _LEAST * total.max())
    sums = np.stack([np.bincount(ring, known * channel, _RINGS) for channel in colors.T], 1)
    means = sums[seen] / total[seen, None]
    middles = (seen + 0.5) / _RINGS
    return lambda at: np.stack([np.interp(at, middles, channel) for channel in means.T], 1)


def _distances(size):
    """Returns distances from each disc's middle, in its radii, of the strip's texels [2, R, size].

    The strip is the last R rows of a texture of `size` texels a side.
    """
    place = (np.arange(size) + 0.5) / size
    up = 1 - place[-max(1, int(STRIP * size)) :]
    across = place[None, None, :] - _MIDDLES[:, 0, None, None]
    return np.hypot(across, up[None, :, None] - _MIDDLES[:, 1, None, None]) / _RADIUS
