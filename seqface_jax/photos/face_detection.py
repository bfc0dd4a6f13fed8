"""Photo -> face box -> square crop, with the detectors that come with OpenCV (no download).

Order of trial: frontal Haar cascade, as the thesis (scale 1.1, 4 neighbours); its second
training (`alt2`); the profile cascade on the photo and on its mirror image; then the face of
the frame before, searched for near its old place; then all again for smaller faces. `follow` tries
the same near the old place only, `find_all` keeps several faces apart. Boxes are (x0, y0, x1, y1)
in photo pixels.

A cascade's box lies and is sized by a tenth this way or that, and around a mouth at times: the
regressions of head pose then say where the head is, and the box is put there, so that every crop
shows a head at the same place and of the same size.
"""

from typing import NamedTuple

import cv2
import numpy as np

from seqface_jax.photos import cascades, pose_regression
from seqface_jax.photos.crops import CROP_SCALE, CROP_SHIFT_DOWN, crop_box, cut_out

SCALE_FACTOR = 1.1  # Haar's pyramid, as in the thesis.
MIN_NEIGHBORS = 4
# (longest side of the searched copy in pixels, least face over the copy's shorter side): a close
# face is found on a small copy in a few milliseconds, a far one on the larger copies.
SEARCHES = ((320, 0.25), (640, 0.08), (1280, 0.04))
TRACK_REACH = 0.5  # How far a face may move between frames, of its box's side, each way.
TRACK_SIDE = 48  # Pixels of the remembered patch.
TRACK_MIN_CORRELATION = 0.6
FOLLOW_GROWTH = 1.35  # How much a face may grow or shrink between frames.
SAME_OVERLAP = 0.3  # Intersection over union from which two boxes are of one face.
# A head is not looked for further from the detected box than this, of its side ...
SETTLE_REACH = 0.7
SETTLE_SIZES = (0.6, 2.5)  # ... nor smaller or larger, of that side.
SETTLED_SHIFT, SETTLED_GROWTH = 0.05, 1.1  # What a last look still changes about a head, at most.
MIN_LIKENESS = 0.1  # Least likeness of a head to the mean face, see pose_regression.
ALL_NEIGHBORS = 6  # Stricter than MIN_NEIGHBORS: among several boxes nobody picks the best.


class DetectedFace(NamedTuple):
    """A found face.

    box: [4] float32, square, in photo pixels.
    patch: [TRACK_SIDE, TRACK_SIDE] uint8, its gray picture at the last true detection.
    found_by: 'frontal', 'frontal_alt2', 'profile', 'profile_mirrored' or 'tracked'.
    """

    box: np.ndarray
    patch: np.ndarray
    found_by: str


class FaceDetector:
    """Finds one face per photo. Holds only the cascades: what was seen before is an argument."""

    def __init__(self):
        self._frontal = cascades.load(cascades.FRONTAL)
        self._frontal_alt2 = cascades.load(cascades.FRONTAL_ALT2)
        self._profile = cascades.load(cascades.PROFILE)

    def find(self, photo, previous=None):
        """Finds the largest central face of a photo.

        Args:
            photo: [H, W, 3] uint8 RGB.
            previous: the DetectedFace of the frame before, or None; of several faces the one that
                overlaps it is preferred, and it is tracked when no detector finds any.

        Returns:
            A DetectedFace, or None if there is none.
        """
        gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        for level, (size, scale, min_side) in enumerate(_searches(gray.shape)):
            doubtful = None
            for found_by, boxes in self._trials(_copy(gray, size), min_side):
                if not len(boxes):
                    continue
                box = _best_box(boxes / scale, gray.shape, previous)
                settled = settle(photo, box)
                if settled is not None:
                    return DetectedFace(settled, _patch(gray, settled), found_by)
                doubtful = doubtful or DetectedFace(box, _patch(gray, box), found_by)
            if doubtful is not None:  # A drawing, a face half hidden: the cascade's word is taken.
                return doubtful
            tracked = _track(gray, previous) if level == 0 and previous is not None else None
            if tracked is not None:
                return tracked
        return None

    def follow(self, photo, previous):
        """Looks for the face of the frame before near its old place, at about its old size.

        A few milliseconds, where `find` searches the whole photo.

        Args:
            photo: [H, W, 3] uint8 RGB.
            previous: the DetectedFace of the frame before.

        Returns:
            A DetectedFace, or None if no cascade sees one there.
        """
        return self._follow(photo, cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), previous)

    def find_all(self, photo, previous=()):
        """Finds the faces of several people.

        Args:
            photo: [H, W, 3] uint8 RGB.
            previous: sequence of the Faces of the frame before; each is followed, and tracked
                where no cascade sees it.

        Returns:
            followed, list of a DetectedFace or None for each of `previous`; and new, list of the
            other faces, left to right. Two of them never overlap by SAME_OVERLAP or more.
        """
        gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        faces, followed = [], []
        for old in previous:
            face = self._follow(photo, gray, old) or _track(gray, old)
            if face is not None and _is_taken(face.box, faces):
                face = None  # Two boxes have run into one: the first keeps it.
            followed.append(face)
            faces += [] if face is None else [face]
        new = []
        for size, scale, min_side in _searches(gray.shape)[
            :2
        ]:  # The last costs a tenth of a second.
            copy = _copy(gray, size)
            for box in _detect(self._frontal, copy, min_side, False, ALL_NEIGHBORS) / scale:
                box = _settle_or_keep(photo, box)
                if not _is_taken(box, faces + new):
                    new.append(DetectedFace(box, _patch(gray, box), 'frontal'))
        return followed, sorted(new, key=lambda face: float(face.box[0]))

    def _follow(self, photo, gray, previous):
        x0, y0, x1, y1 = previous.box
        side = float(x1 - x0)
        searches = _searches(gray.shape)
        # On the copy that `find` would have found it on, so that the boxes agree.
        fitting = [search for search in searches if side * search[1] >= search[2] * 0.9]
        (width, height), scale, _ = (fitting or searches[-1:])[0]
        reach = TRACK_REACH * side
        left, top = max(0, round((x0 - reach) * scale)), max(0, round((y0 - reach) * scale))
        right, bottom = round((x1 + reach) * scale), round((y1 + reach) * scale)
        right, bottom = min(right, width), min(bottom, height)
        if min(right - left, bottom - top) < side * scale / FOLLOW_GROWTH:
            return None  # Another photo size: the old place means nothing here.
        window = np.ascontiguousarray(_copy(gray, (width, height))[top:bottom, left:right])
        sides = (round(side * scale / FOLLOW_GROWTH), round(side * scale * FOLLOW_GROWTH))
        for found_by, boxes in self._trials(window, max(24, sides[0]), max(25, sides[1])):
            if len(boxes):
                boxes = (boxes + [left, top, left, top]) / scale
                box = _settle_or_keep(photo, boxes[np.argmax(overlap(boxes, previous.box))])
                return DetectedFace(box, _patch(gray, box), found_by)
        return None

    def _trials(self, gray, min_side, max_side=0):
        """Yields (found_by, boxes [N, 4]) of each cascade in the order of trial."""
        for found_by, cascade, mirrored in (
            ('frontal', self._frontal, False),
            ('frontal_alt2', self._frontal_alt2, False),
            ('profile', self._profile, False),
            ('profile_mirrored', self._profile, True),
        ):
            yield found_by, _detect(cascade, gray, min_side, mirrored, MIN_NEIGHBORS, max_side)


def settle(photo, box):
    """Puts a detected box about the head that it is of.

    Args:
        photo: [H, W, 3] uint8 RGB.
        box: [4], of a cascade.

    Returns:
        [4] float32, square, such that crop_box of it is pose_regression's square around the head;
        None where the regressions lose their way, or what they end at does not look like a face.
    """
    box = np.asarray(box, np.float64)
    camera = pose_regression.assumed_camera(box)
    first = pose_regression.regress(photo, crop_box(box), camera)
    last = pose_regression.regress(photo, pose_regression.square_of(first), camera, stages=(1,))
    return _box_of(last) if _agree(first, last) and _is_face(photo, box, last) else None


def _settle_or_keep(photo, box):
    settled = settle(photo, box)
    return box.astype(np.float32) if settled is None else settled


def _agree(first, last):
    """Returns whether the last look has found the head where the one before has."""
    before, after = pose_regression.square_of(first), pose_regression.square_of(last)
    side, grown = after[2] - after[0], (after[2] - after[0]) / (before[2] - before[0])
    shift = np.abs(after[:2] + after[2:] - before[:2] - before[2:]).max() / 2
    return shift < SETTLED_SHIFT * side and 1 / SETTLED_GROWTH < grown < SETTLED_GROWTH


def _is_face(photo, box, found):
    """Returns whether a Pose is near the detected box, and the photo shows a face there."""
    settled, side = _box_of(found), box[2] - box[0]
    shift = np.abs(settled[:2] + settled[2:] - box[:2] - box[2:]).max() / 2
    if shift > SETTLE_REACH * side:
        return False
    if not SETTLE_SIZES[0] < (settled[2] - settled[0]) / side < SETTLE_SIZES[1]:
        return False
    return pose_regression.likeness(photo, found) >= MIN_LIKENESS


def _box_of(pose):
    """Returns the box, [4] float32, whose crop is the square around a head."""
    square = pose_regression.square_of(pose)
    half = (square[2] - square[0]) / CROP_SCALE / 2
    middle = (square[:2] + square[2:]) / 2 - [0, CROP_SHIFT_DOWN * 2 * half]
    return np.concatenate([middle - half, middle + half]).astype(np.float32)


def _searches(shape):
    """Returns the distinct searches of SEARCHES: [(copy's size, its scale, least face in pixels)].

    Args:
        shape: (height, width) of the photo.
    """
    searches = {}
    for longest, min_face in SEARCHES:
        scale = min(1.0, longest / max(shape))
        width, height = (max(1, round(side * scale)) for side in shape[::-1])
        min_side = max(24, round(min_face * min(width, height)))  # 24: what the cascades learnt.
        searches.setdefault((width, height, min_side), scale)
    return [((width, height), scale, side) for (width, height, side), scale in searches.items()]


def _copy(gray, size):
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)


def _detect(cascade, gray, min_side, mirrored, min_neighbors=MIN_NEIGHBORS, max_side=0):
    """Runs one cascade; returns boxes [N, 4] float64 in pixels of `gray`. max_side 0: any."""
    found = cascade.detectMultiScale(
        gray[:, ::-1].copy() if mirrored else gray,
        scaleFactor=SCALE_FACTOR,
        minNeighbors=min_neighbors,
        minSize=(min_side, min_side),
        maxSize=(max_side, max_side),
    )
    boxes = np.array(found, np.float64).reshape(-1, 4)
    if mirrored:
        boxes[:, 0] = gray.shape[1] - boxes[:, 0] - boxes[:, 2]
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _best_box(boxes, shape, previous):
    """Picks the largest central box, and favours the one that was followed so far."""
    height, width = shape
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    away = np.hypot(centers[:, 0] / width - 0.5, centers[:, 1] / height - 0.5)
    score = (boxes[:, 2] - boxes[:, 0]) * (1 - away)
    if previous is not None:
        score = score * (0.2 + overlap(boxes, previous.box))
    return boxes[np.argmax(score)].astype(np.float32)


def _is_taken(box, faces):
    """Returns whether a box is that of one of the Faces."""
    boxes = np.array([face.box for face in faces]).reshape(-1, 4)
    return bool((overlap(boxes, box) >= SAME_OVERLAP).any())


def overlap(boxes, box):
    """Returns intersection over union of each of `boxes` [N, 4] with `box` [4]."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return shared / (areas + np.prod(box[2:] - box[:2]) - shared)


def _patch(gray, box):
    return cut_out(gray, np.round(box), TRACK_SIDE)


def _track(gray, previous):
    """Searches the previous face's picture around its old place; None if it is not there."""
    x0, y0, x1, y1 = previous.box
    side = x1 - x0
    if not (0 <= (x0 + x1) / 2 < gray.shape[1] and 0 <= (y0 + y1) / 2 < gray.shape[0]):
        return None  # Another photo size: the old place means nothing here.
    reach = TRACK_REACH * side
    window = np.round([x0 - reach, y0 - reach, x1 + reach, y1 + reach])
    searched_side = round(TRACK_SIDE * (1 + 2 * TRACK_REACH))
    searched = cut_out(gray, window, searched_side)
    if searched.std() < 1:
        return None
    correlation = cv2.matchTemplate(searched, previous.patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (column, row) = cv2.minMaxLoc(correlation)
    if not best >= TRACK_MIN_CORRELATION:
        return None
    pixel = (window[2] - window[0]) / searched_side
    corner = window[:2] + pixel * np.array([column, row])
    box = np.concatenate([corner, corner + side]).astype(np.float32)
    # The patch stays that of the last true detection, so that tracking cannot drift away.
    return DetectedFace(box, previous.patch, 'tracked')
