"""Finds a face on a photo with the correspondence network: where each template point is."""

import itertools
from typing import NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax.models.correspondence_network import Correspondence
from seqface_jax.photos import cascades
from seqface_jax.photos.turned_crops import Crop, cut_all, recentred

ROUNDS = 3  # Predict, cut again, predict: the last round's crop is like those of training.
MIN_SCORE = 0.95  # Least score of a face where a cascade has seen one,
MIN_FOLLOWED_SCORE = 0.99  # where the frame before of a video had it,
MIN_SEARCHED_SCORE = 0.998  # and where nothing but the network has, in one of hundreds of looks.
# Expected error of the points, in crop sides, of which a photo is half believed, and the confidence
# from which on it is used: nineteen of twenty made-up pictures whose points are off by more than
# 15 % of the face's width have less, and one of twenty whose points are off by less than 8 %.
_HALF_BELIEVED, MIN_CONFIDENCE = 0.05, 0.5
_BOX_SIDES, _BOX_DOWN = 1.5, 0.1  # Crop about a cascade's box: its sides, and so far down.
_SEARCH_PX = 640  # Longest side of the copy that cascades search,
_FINE_PX = 1920  # and where faces may be small: everybody is looked for, or nobody was found.
_NEIGHBORS, _FINE_NEIGHBORS = 4, 6  # Boxes beside one that vouch for it: a large copy has more.
_LEAST, _LEAST_PX = 0.06, 24  # Side of the least box, of the shorter side of the photo, and in px.
_GRID = ((1.0, 1.0), (0.62, 0.5), (0.38, 0.5))  # Squares searched: side and step, of a side.
# Most squares of it: a photo that is more than 18 times as wide as high is searched more coarsely.
_MOST_SQUARES = 700
_KEPT = 3  # Squares of the grid that are looked at closely,
_KEPT_OF_ALL = 16  # and where everybody is looked for.
_APART = 0.55  # Faces of two people cheek to cheek are farther apart, in sides.
_SAME = 0.35  # Two faces whose middles are nearer, in sides, are one.


class SeenCrop(NamedTuple):
    """What the network keeps of a crop, on the device; the corrector looks again at it.

    Attributes:
        features: [B, M, M, C] of the crop and, with a mirror, of its mirror image.
        seen: [1, P] logits of the first answer.
    """

    features: jax.Array
    seen: jax.Array


class Sighting(NamedTuple):
    """One face on one photo.

    Attributes:
        crop: the Crop of the last look.
        places: [P, 2] px of the photo, x right and y down.
        factor: [P, 2, 2]; errors in px have unit variance as factor @ error.
        seen: [P] in [0, 1].
        score: in [0, 1], the network's word that this is a face.
        view: SeenCrop of the crop, or None.
    """

    crop: Crop
    places: np.ndarray
    factor: np.ndarray
    seen: np.ndarray
    score: float
    view: SeenCrop | None = None

    @property
    def expected_error(self):
        """Root mean square error of the points seen, as the network states it, in crop sides."""
        # Errors in px are factor^-1 n, n of unit variance; the inverse of a 2 x 2 matrix has its
        # entries, divided by the determinant.
        a, b, c, d = self.factor.reshape(-1, 4).T
        variance = (a**2 + b**2 + c**2 + d**2) / (a * d - b * c) ** 2 / self.crop.side**2
        return float(np.sqrt(np.average(variance, weights=self.seen + 1e-6)))

    @property
    def confidence(self):
        """In [0, 1], how far the points can be believed: 1 / 2 at an expected error of 5 %.

        On damaged made-up pictures it falls as the true error rises (benchmarks/README.md), where
        `score` is near 1 for most: half a face is a face all the same.
        """
        return 1 / (1 + (self.expected_error / _HALF_BELIEVED) ** 2)

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

    def __init__(self, model, variables, mirror=None, jit=jax.jit):
        """Takes the network; with `mirror` the last look is at the mirror image too.

        Args:
            model: CorrespondenceNetwork.
            variables: its variables.
            mirror: [P] the number of the mirrored point of each, or None.
            jit: what compiles, as jax.jit.
        """
        self._model, self._size, self._mirror = model, model.image_size, mirror
        self._layout_mean = np.asarray(variables['constants']['layout_mean'])
        self._variables = jax.device_put(variables)
        self._look, self._look_twice = jit(self._first_answer), jit(self._answer_twice)
        # Without any the network searches alone.
        names = (cascades.FRONTAL, cascades.FRONTAL_ALT2) if cascades.are_there() else ()
        self._cascades = [cascades.load(name) for name in names]

    def _first_answer(self, variables, frames):
        frames = frames.astype(jnp.float32) / 255
        return self._model.apply(variables, frames, method='look')[1]

    def _answer_twice(self, variables, frames):
        """Returns features and both answers, of frames and of their mirror images together."""
        if self._mirror is not None:
            frames = jnp.concatenate([frames, frames[:, :, ::-1]])
        frames = frames.astype(jnp.float32) / 255
        features, first = self._model.apply(variables, frames, method='look')
        answer = self._model.apply(variables, features, first.places, method='correct')
        if self._mirror is not None:
            first, answer = (_with_mirror(each, self._mirror) for each in (first, answer))
        return features, first, answer

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
            if left:
                first = jax.device_get(self._look(self._variables, frame[None]))
                crop = recentred(crop, first.places[0], _sigmoid(first.seen[0]), self._layout_mean)
                if not _is_usable(crop, photo):
                    return _sighting(crop, first, first)._replace(score=0.0)
        features, first, corrected = self._look_twice(self._variables, frame[None])
        view = SeenCrop(features, first.seen)
        return _sighting(crop, *jax.device_get((first, corrected)))._replace(view=view)

    def look_again(self, variables, view, start):
        """Returns what the corrector says of a SeenCrop from places on; to be compiled.

        Args:
            variables: those of the network, `variables`.
            view: SeenCrop.
            start: [P, 2] places in crop sides.

        Returns:
            Correspondence of one crop, without the score of a face; with the seen of both answers.
        """
        start = start[None]
        if self._mirror is not None:
            start = jnp.concatenate([start, _mirrored_places(start, self._mirror)])
        answer = self._model.apply(variables, view.features, start, method='correct')
        if self._mirror is not None:
            answer = _with_mirror(answer, self._mirror)
        return answer._replace(seen=jnp.minimum(answer.seen, view.seen))

    @property
    def variables(self):
        """The network's variables, on the device."""
        return self._variables

    def find(self, photo, previous=None):
        """Returns the faces of a photo, the largest and most central first, a list of Sightings.

        Those of the first way of `ways` that finds any.
        """
        return next(self.ways(photo, previous), [])

    def ways(self, photo, previous=None):
        """Yields the faces that each further way of looking finds, lists of Sightings.

        A caller whom the faces of one way do not convince asks for the next; the largest and most
        central face of each comes first.

        Args:
            photo: [H, W, 3] uint8 RGB.
            previous: the Sighting of the frame before of a video, or None: what is there is looked
                at first, and the whole photo at any turn only if nothing else is found: it takes
                as long as some hundred looks.
        """
        found = False
        if previous is not None:
            followed = self.look(photo, previous.crop, rounds=2)
            if followed.score >= MIN_FOLLOWED_SCORE:
                found = True
                yield [followed]
        detected = self._vouched(photo, self._detected(photo), MIN_SCORE)
        if detected:
            found = True
            yield detected
        if not found or previous is None:
            searched = self._vouched(photo, self._searched(photo), MIN_SEARCHED_SCORE)
            if searched:
                yield searched
            elif not found:
                small = self._vouched(photo, self._detected_small(photo), MIN_SEARCHED_SCORE)
                if small:
                    yield small

    def find_all(self, photo, previous=()):
        """Returns all faces of a photo, the largest and most central first, a list of Sightings.

        Args:
            photo: [H, W, 3] uint8 RGB.
            previous: Sightings of the frame before of a video: they are looked for where they
                were, and others by the cascades only. Without them all of the photo is searched.
        """
        found = []
        for sighting in previous:
            followed = self.look(photo, sighting.crop, rounds=2)
            if followed.score >= MIN_FOLLOWED_SCORE and not _is_among(followed.crop, found):
                found.append(followed)
        starts = [(crop, MIN_SCORE) for crop in self._detected(photo)]
        if not found:
            further = self._searched(photo, _KEPT_OF_ALL) + self._detected_small(photo)
            starts += [(crop, MIN_SEARCHED_SCORE) for crop in further]
        for crop, least in starts:
            if _is_among(crop, found):
                continue
            sighting = self.look(photo, crop)
            if sighting.score >= least and not _is_among(sighting.crop, found):
                found.append(sighting)
        return sorted(found, key=lambda sighting: -_prominence(sighting, photo))

    def _vouched(self, photo, starts, min_score):
        """Returns the faces that a look from Crops on finds, the most prominent first."""
        found = []
        for crop in starts:
            sighting = self.look(photo, crop)
            if sighting.score >= min_score and not _is_among(sighting.crop, found, _SAME):
                found.append(sighting)
        return sorted(found, key=lambda sighting: -_prominence(sighting, photo))

    def _detected(self, photo):
        """Returns Crops about the boxes of OpenCV's cascades, the photo upright."""
        scale = _SEARCH_PX / max(photo.shape[:2])
        return self._boxes(photo, scale, _NEIGHBORS, _LEAST)

    def _detected_small(self, photo):
        """Returns Crops about the boxes in a larger copy, of faces too small for `_detected`."""
        height, width = photo.shape[:2]
        scale = max(_FINE_PX / max(height, width), _SEARCH_PX / min(height, width))
        return self._boxes(photo, scale, _FINE_NEIGHBORS, _LEAST * _SEARCH_PX / _FINE_PX)

    def _boxes(self, photo, scale, neighbors, least):
        """Returns Crops about the boxes of the first cascade that has any, the largest first.

        Args:
            photo: [H, W, 3] uint8 RGB.
            scale: of the copy that is searched, of the photo; at most 1 is used.
            neighbors: boxes beside a box that vouch for it.
            least: side of the least box, as a share of the photo's shorter side.
        """
        gray, scale = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), min(1.0, scale)
        if scale < 1:
            gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        least = max(_LEAST_PX, int(least * min(gray.shape)))
        made = []
        for cascade in self._cascades:
            boxes = cascade.detectMultiScale(gray, 1.1, neighbors, minSize=(least, least))
            for x, y, side, _ in sorted(np.reshape(boxes, (-1, 4)), key=lambda box: -box[2]):
                center = np.array([x + side / 2, y + side * (0.5 + _BOX_DOWN)]) / scale
                made.append(Crop(center, side / scale * _BOX_SIDES))
            if made:
                break
        return made

    def _searched(self, photo, kept=_KEPT):
        """Returns the Crops at which the network's own first look says most: any turn and size."""
        height, width = photo.shape[:2]
        starts = []
        for share, step in _GRID:
            side = share * min(height, width)
            across = _spread(width, side, step)
            down = _spread(height, side, step)
            if len(starts) + len(down) * len(across) > _MOST_SQUARES:
                break
            starts += [Crop(np.array([x, y]), side) for y in down for x in across]
        if not starts:
            return []
        starts = [crop._replace(turn_rad=turn * np.pi / 2) for crop in starts for turn in range(4)]
        cuts, scores = cut_all(photo, starts, self._size), []
        while some := list(itertools.islice(cuts, 16)):
            frames = np.zeros((16, *some[0].shape), np.uint8)
            frames[: len(some)] = some
            answer = self._look(self._variables, frames)
            scores.append(np.asarray(answer.face)[: len(some)])
        order = np.concatenate(scores).argsort()[::-1]
        return [starts[k] for k in order[:kept]]


def _sighting(crop, first, corrected):
    """Returns the Sighting of two Correspondences of one crop."""
    return Sighting(
        crop,
        crop.to_photo(corrected.places[0]),
        corrected.factor[0] @ np.linalg.inv(crop.matrix),
        _sigmoid(np.minimum(first.seen[0], corrected.seen[0])),
        float(_sigmoid(first.face[0])),
    )


def _mirrored_places(places, mirror):
    """Returns places [B, P, 2] in sides of a crop as those of its mirror image."""
    return places[:, mirror] * jnp.array([-1.0, 1.0]) + jnp.array([1.0, 0.0])


def _with_mirror(answer, mirror):
    """Joins what is said of B crops and of their mirror images.

    Args:
        answer: Correspondence of [2 B], the mirror images last.
        mirror: [P].

    Returns:
        Correspondence of [B]: means of places, logits and precisions.
    """
    count = len(answer.face) // 2
    own = jax.tree.map(lambda values: values[:count], answer)
    other = jax.tree.map(lambda values: values[count:], answer)
    factor = other.factor[:, mirror] * jnp.array([-1.0, 1.0])  # For errors whose x is mirrored.
    return Correspondence(
        (own.places + _mirrored_places(other.places, mirror)) / 2,
        _mean_factor(own.factor, factor),
        (own.seen + other.seen[:, mirror]) / 2,
        (own.face + other.face) / 2,
    )


def _mean_factor(one, other):
    """Returns the lower triangular factor [..., 2, 2] of the mean of two precisions."""
    precision = (_product(one) + _product(other)) / 2
    last = jnp.sqrt(precision[..., 1, 1])
    mixed = precision[..., 0, 1] / last
    first = jnp.sqrt(jnp.maximum(precision[..., 0, 0] - mixed**2, 1e-12))
    rows = [jnp.stack([first, jnp.zeros_like(first)], -1), jnp.stack([mixed, last], -1)]
    return jnp.stack(rows, -2)


def _product(factor):
    """Returns factor' factor, written out: products of many 2 x 2 matrices are slow on a CPU."""
    a, b, c, d = (factor[..., k // 2, k % 2] for k in range(4))
    rows = [jnp.stack([a * a + c * c, a * b + c * d], -1)]
    rows.append(jnp.stack([a * b + c * d, b * b + d * d], -1))
    return jnp.stack(rows, -2)


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


def _is_among(crop, found, apart=_APART):
    """Returns whether a Crop is nearer than `apart`, in sides, to a Sighting found already."""
    return any(
        np.linalg.norm(crop.center - old.crop.center) < apart * max(crop.side, old.crop.side)
        for old in found
    )


def _prominence(sighting, photo):
    """Returns how large and central a face is."""
    height, width = photo.shape[:2]
    away = np.hypot(*(sighting.crop.center / [width, height] - 0.5))
    return sighting.crop.side * max(1 - away, 0.05)
