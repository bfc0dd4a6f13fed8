"""Assigns the faces of a photo to the people seen so far, all at once, or says that it is unsure.

The evidence that a face is of a person is a log odds ratio: of their shapes and looks, and in a
video of how far the face would have moved. The assignment with the largest sum is taken. A face is
unsure if another assignment of it is nearly as likely, or if its place says another person than
shape and looks do: two people may have changed places where a video is cut.
"""

import functools
import os
from typing import NamedTuple

import cv2
import numpy as np

# Log odds against the next best assignment of known people, or of anybody in a video, from which
# a face is sure. On photos, Odds.doubt is the margin against somebody new.
MIN_MARGIN = 2.0
_MOST = 6.0  # Log odds that one look may give; beyond it something else is wrong.
# In a video: the deviation of a face's move from frame to frame, in sides of the face, and the
# most that a move may cost: videos are cut.
_MOVE, _LARGEST_PLACE_COST = 0.15, 3.0
_NEW_IN_VIDEO = -1.0  # Log odds that a face of a video's frame is of somebody new.
_CUT_PX = 64  # Side of the crop that looks are read from.
_DARKEST = 8.0  # Added to colours before the logarithm, of 255.
_FORBIDDEN = -1e6
_MEAN_LOOKS = os.path.join(os.path.dirname(__file__), 'mean_looks.npz')
_ODDS = os.path.join(os.path.dirname(__file__), 'people_odds.npz')


class Odds(NamedTuple):
    """What data_prep/package_files/people_odds.py measured on made-up people.

    Attributes:
        weights: [3] of likeness of looks (a correlation), distance of shapes and 1 in the log odds
            that two faces are of one person.
        known: log odds from which a face is the person's; new: up to which it is not.
    """

    weights: np.ndarray
    known: float
    new: float

    @property
    def doubt(self):
        """Log odds on each side of the middle within which a face is unsure."""
        return (self.known - self.new) / 2


class Looks(NamedTuple):
    """The colours of a face at the network's points, without the light; or their mean over frames.

    Attributes:
        colors: [P, 3] log RGB, without what varies smoothly over the face and what all faces share.
        weights: [P], how well each point was seen; of a mean, summed.
    """

    colors: np.ndarray
    weights: np.ndarray


class Decision(NamedTuple):
    """Whose face it is.

    Attributes:
        person: index of the most likely person; the number of people or more: somebody new.
        rival: the person of the next best assignment, alike; None if there is no other.
        margin: log odds of the assignment against the next best one.
        is_sure: whether the face may be credited to the person.
    """

    person: int
    rival: int | None
    margin: float
    is_sure: bool


def looks_of(photo, sighting, points):
    """Returns the Looks of a face.

    Args:
        photo: [H, W, 3] uint8 RGB.
        sighting: sighting.Sighting on it.
        points: [P, 3] mm, where the points are on the mean face.
    """
    crop = sighting.crop.cut(photo, _CUT_PX)
    colors = colors_at(crop, sighting.crop.from_photo(sighting.places) * _CUT_PX)
    colors = without_light(colors, sighting.seen, points)
    shared = mean_looks()
    if shared.shape == colors.shape:
        colors = colors - without_light(shared, sighting.seen, points)
    return Looks(colors, np.asarray(sighting.seen, float))


@functools.cache
def mean_looks():
    """Returns what the colours of all faces share, [P, 3]; of data_prep/hard_pictures."""
    with np.load(_MEAN_LOOKS) as file:
        return file['colors'].astype(np.float64)


def colors_at(picture, places):
    """Returns the log RGB [P, 3] of a picture [S, S, 3] uint8, blurred, at places [P, 2] px."""
    blurred = cv2.GaussianBlur(picture, (0, 0), len(picture) / _CUT_PX)
    place = np.rint(np.asarray(places) - 0.5).astype(int)
    x, y = np.clip(place, 0, len(picture) - 1).T
    return np.log(blurred[y, x].astype(np.float64) + _DARKEST)


def without_light(colors, weights, points):
    """Returns log colours [P, 3] without what a quadratic over the face explains: light and skin.

    Args:
        colors: [P, 3] log RGB.
        weights: [P] in [0, 1].
        points: [P, 3] mm, on the mean face.
    """
    x, y, z = ((points - points.mean(0)) / points.std(0)).T
    terms = np.stack([np.ones_like(x), x, y, z, x * x, x * y, y * y], 1)
    root = np.sqrt(weights)[:, None]
    found, *_ = np.linalg.lstsq(root * terms, root * colors, rcond=None)
    return colors - terms @ found


def likeness(one, other):
    """Returns the correlation of two Looks where both are seen, in [-1, 1]; 0 if too little is."""
    weights = np.minimum(one.weights / max(one.weights.max(), 1e-9), other.weights.max())
    weights = np.minimum(weights, other.weights / max(other.weights.max(), 1e-9))[:, None]
    if weights.sum() < 0.1 * len(weights):
        return 0.0
    product = (weights * one.colors * other.colors).sum()
    sizes = [(weights * looks.colors**2).sum() for looks in (one, other)]
    return float(product / np.sqrt(max(sizes[0] * sizes[1], 1e-12)))


def joined(mean, new):
    """Returns the mean Looks after one more; `mean` is None before the first."""
    if mean is None:
        return new
    total = mean.weights + new.weights
    share = np.divide(new.weights, total, out=np.zeros_like(total), where=total > 0)
    return Looks(mean.colors + share[:, None] * (new.colors - mean.colors), total)


@functools.cache
def measured_odds():
    """Returns the Odds that come with the package."""
    with np.load(_ODDS) as file:
        return Odds(*(file[name] for name in Odds._fields))


def log_odds(features, weights):
    """Returns the log odds [N] of features [N, 2], likeness and distance, under weights [3]."""
    return np.asarray(features) @ weights[:2] + weights[2]


def face_evidence(likeness_of_looks, distance_of_shapes):
    """Returns the log odds that two faces are of one person, 0 in the middle of the doubt."""
    own = measured_odds()
    odds = log_odds([likeness_of_looks, distance_of_shapes], own.weights)
    return float(np.clip(odds - (own.known + own.new) / 2, -_MOST, _MOST))


def place_evidence(crop, previous):
    """Returns the log odds, at most 0, of a face's move from the last frame of a video.

    Args:
        crop: turned_crops.Crop of the face; previous: that of the person on the frame
            before, or None if they were not on it.
    """
    if previous is None:
        return -_LARGEST_PLACE_COST / 2
    moved = np.linalg.norm(np.asarray(crop.center) - previous.center) / previous.side
    grown = np.log(crop.side / previous.side)
    return -min((moved**2 + grown**2) / (2 * _MOVE**2), _LARGEST_PLACE_COST)


def assign(faces, places=None):
    """Assigns the faces of one photo: no two to one person, each to a person or somebody new.

    Args:
        faces: [F, K] log odds that a face is of a person, by shape and looks.
        places: [F, K] log odds by place, of a video; None for photos, which are no sequence.

    Returns:
        list of a Decision for each face. Of several new faces each gets a number of its own.
    """
    faces = np.asarray(faces, float)
    if places is None:
        return _decide(faces, 0.0, float(measured_odds().doubt))
    both = faces + places
    together = _decide(both, _NEW_IN_VIDEO, MIN_MARGIN)
    gains = _with_new(faces, _NEW_IN_VIDEO)
    alone, known = _solve(gains), faces.shape[1]
    checked = []
    for face, decision in enumerate(together):
        other = min(alone[face], known)
        gain = gains[face, alone[face]] - gains[face, decision.person]
        if other < known and other != decision.person and gain > 0:
            decision = decision._replace(rival=int(other), is_sure=False)
        checked.append(decision)
    return checked


def _decide(odds, new, doubt):
    """Returns the Decisions of log odds [F, K]: `new` of somebody new, sure from `doubt` on."""
    table = _with_new(odds, new)
    columns = _solve(table)
    best = table[np.arange(len(table)), columns].sum()
    decisions = []
    for face, column in enumerate(columns):
        barred = table.copy()
        barred[face, column] = _FORBIDDEN
        others = _solve(barred)
        margin = best - barred[np.arange(len(barred)), others].sum()
        rival = int(others[face]) if margin < -_FORBIDDEN / 2 else None
        is_known = rival is not None and max(column, rival) < np.shape(odds)[1]
        is_sure = bool(margin >= (MIN_MARGIN if is_known else doubt))
        decisions.append(Decision(int(column), rival, float(margin), is_sure))
    return decisions


def _with_new(odds, new):
    """Returns [F, K + F]: a column of somebody new for each face."""
    own = np.where(np.eye(len(odds), dtype=bool), new, _FORBIDDEN)
    return np.concatenate([odds, own], 1)


def _solve(table):
    """Returns the columns [F] that maximise the sum."""
    from scipy.optimize import linear_sum_assignment  # Here: one person's photos need it not.

    return linear_sum_assignment(table, maximize=True)[1]
