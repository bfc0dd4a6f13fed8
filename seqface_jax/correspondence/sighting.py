"""Finds a face on a photo with the correspondence network: where each template point is."""

from typing import NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax.correspondence.turned_crops import Crop, recentred

ROUNDS = 3  # Predict, cut again, predict: the last round's crop is like those of training.
MIN_SCORE = 0.95  # Least score of a face where a cascade has seen one,
MIN_SEARCHED_SCORE = 0.99  # and where nothing but the network has.
_BOX_SIDES, _BOX_DOWN = 1.5, 0.1  # Crop about a cascade's box: its sides, and so far down.
_SEARCH_PX = 640  # Longest side of the copy that cascades search.
_GRID = ((1.0, 1.0), (0.62, 0.5), (0.38, 0.5))  # Squares searched: side and step, of a side.
_KEPT = 3  # Squares of the grid that are looked at closely.
_SAME = 0.35  # Two faces whose middles are nearer, in sides, are one.


class Sighting(NamedTuple):
    """One face on one photo.

    Attributes:
        crop: the Crop of the last look.
        places: [P, 2] px of the photo, x right and y down.
        factor: [P, 2, 2]; errors in px have unit variance as factor @ error.
        seen: [P] in [0, 1].
        score: in [0, 1], the network's word that this is a face.
    """

    crop: Crop
    places: np.ndarray
    factor: np.ndarray
    seen: np.ndarray
    score: float

    @property
    def found_by(self):
        """A few words for a person."""
        return f'a face, score {self.score:.2f}'

    @property
    def box(self):
        """[4] x0, y0, x1, y1 of the points in the photo, px."""
        return np.concatenate([self.places.min(0), self.places.max(0)]).astype(np.float32)


class FaceFinder:
    """Finds faces; holds the network and the cascades, nothing of the photos seen."""

    def __init__(self, model, variables):
        """Takes a CorrespondenceNetwork and its variables."""
        self._model, self._size = model, model.image_size
        self._layout_mean = np.asarray(variables['constants']['layout_mean'])
        self._variables = jax.device_put(variables)
        self._look = jax.jit(self._answer)
        self._correct = jax.jit(self._answer_from)
        self._cascades = _cascades()

    def _answer(self, variables, frames):
        frames = frames.astype(jnp.float32) / 255
        return self._model.apply(variables, frames)

    def _answer_from(self, variables, frames, start):
        frames = frames.astype(jnp.float32) / 255
        return self._model.apply(variables, frames, start=start)

    def look(self, photo, crop, rounds=ROUNDS):
        """Looks at a photo from a Crop on.

        Args:
            photo: [H, W, 3] uint8 RGB.
            crop: where to begin.
            rounds: times the network is asked; each but the first begins at a better crop.

        Returns:
            Sighting.
        """
        for left in range(rounds - 1, -1, -1):
            frame = crop.cut(photo, self._size)
            first, corrected = self._look(self._variables, frame[None])
            if left:
                seen = _sigmoid(np.asarray(first.seen[0]))
                crop = recentred(crop, np.asarray(first.places[0]), seen, self._layout_mean)
                if not _is_usable(crop, photo):
                    return self._sighting(crop, first, first)._replace(score=0.0)
        return self._sighting(crop, first, corrected)

    def look_again(self, photo, sighting, places):
        """Returns the Sighting that the local corrector says from places [P, 2] px on."""
        frame = sighting.crop.cut(photo, self._size)
        start = sighting.crop.from_photo(places).astype(np.float32)
        first, corrected = self._correct(self._variables, frame[None], start[None])
        return self._sighting(sighting.crop, first, corrected)

    def _sighting(self, crop, first, corrected):
        matrix = crop.matrix
        return Sighting(
            crop,
            crop.to_photo(np.asarray(corrected.places[0])),
            np.asarray(corrected.factor[0]) @ np.linalg.inv(matrix),
            np.minimum(*(_sigmoid(np.asarray(answer.seen[0])) for answer in (first, corrected))),
            float(_sigmoid(np.asarray(first.face[0]))),
        )

    def find(self, photo, previous=None):
        """Returns the faces of a photo, the largest and most central first, a list of Sightings.

        Args:
            photo: [H, W, 3] uint8 RGB.
            previous: the Sighting of the frame before of a video, or None: only what is there is
                looked at, if the network still vouches for it.
        """
        if previous is not None:
            followed = self.look(photo, previous.crop, rounds=2)
            if followed.score >= MIN_SEARCHED_SCORE:
                return [followed]
        found = self._vouched(photo, self._detected(photo), MIN_SCORE)
        if not found:
            found = self._vouched(photo, self._searched(photo), MIN_SEARCHED_SCORE)
        return sorted(found, key=lambda sighting: -_prominence(sighting, photo))

    def _vouched(self, photo, starts, min_score):
        found = []
        for crop in starts:
            sighting = self.look(photo, crop)
            if sighting.score >= min_score and not any(_is_same(sighting, old) for old in found):
                found.append(sighting)
        return found

    def _detected(self, photo):
        """Returns Crops about the boxes of OpenCV's cascades, the photo upright."""
        scale = min(1.0, _SEARCH_PX / max(photo.shape[:2]))
        gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        least = max(24, int(0.06 * min(gray.shape)))
        made = []
        for cascade in self._cascades:
            boxes = cascade.detectMultiScale(gray, 1.1, 4, minSize=(least, least))
            for x, y, side, _ in sorted(np.reshape(boxes, (-1, 4)), key=lambda box: -box[2]):
                center = np.array([x + side / 2, y + side * (0.5 + _BOX_DOWN)]) / scale
                made.append(Crop(center, side / scale * _BOX_SIDES))
            if made:
                break
        return made

    def _searched(self, photo):
        """Returns the Crops at which the network's own first look says most: any turn and size."""
        height, width = photo.shape[:2]
        starts = []
        for share, step in _GRID:
            side = share * min(height, width)
            across = _spread(width, side, step)
            down = _spread(height, side, step)
            starts += [Crop(np.array([x, y]), side) for y in down for x in across]
        starts = [crop._replace(turn_rad=turn * np.pi / 2) for crop in starts for turn in range(4)]
        scores = []
        for first in range(0, len(starts), 16):
            some = starts[first : first + 16]
            frames = np.stack([crop.cut(photo, self._size) for crop in some])
            frames = np.concatenate(
                [frames, np.zeros((16 - len(some), *frames.shape[1:]), np.uint8)]
            )
            answer, _ = self._look(self._variables, frames)
            scores.append(np.asarray(answer.face)[: len(some)])
        order = np.concatenate(scores).argsort()[::-1]
        return [starts[k] for k in order[:_KEPT]]


def _cascades():
    """Returns OpenCV's frontal cascades; none where this OpenCV has none (5 and later)."""
    if not hasattr(cv2, 'CascadeClassifier'):
        return []
    names = ('haarcascade_frontalface_default.xml', 'haarcascade_frontalface_alt2.xml')
    return [cv2.CascadeClassifier(cv2.data.haarcascades + name) for name in names]


def _sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _spread(length, side, step):
    """Returns the middles of squares of a side that cover a length."""
    count = max(1, int(np.ceil((length - side) / (step * side))) + 1)
    return np.linspace(side / 2, max(length - side / 2, side / 2), count)


def _is_usable(crop, photo):
    """Returns whether a crop is finite, shows some of the photo and is neither tiny nor huge."""
    values = [*crop.center, crop.side]
    if not np.isfinite(values).all():
        return False
    height, width = photo.shape[:2]
    inside = (crop.center > -0.3 * crop.side) & (crop.center < [width, height] + 0.3 * crop.side)
    return bool(inside.all()) and 12 < crop.side < 6 * max(height, width)


def _is_same(one, other):
    apart = np.linalg.norm(one.crop.center - other.crop.center)
    return apart < _SAME * max(one.crop.side, other.crop.side)


def _prominence(sighting, photo):
    """Returns how large and central a face is."""
    height, width = photo.shape[:2]
    away = np.hypot(*(sighting.crop.center / [width, height] - 0.5))
    return sighting.crop.side * max(1 - away, 0.05)
