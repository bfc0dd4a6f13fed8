"""Squares that are cut out of a photo, turned and scaled, and the way back from them."""

from typing import NamedTuple

import cv2
import numpy as np

_SMALL = 0.6  # A photo is first made smaller where a crop would skip its pixels.


class Crop(NamedTuple):
    """A square of a photo.

    Attributes:
        center: [2] px, x right and y down, pixel k's middle at k + 0.5.
        side: px.
        turn_rad: by which its right side is turned in the photo, clockwise as seen.
    """

    center: np.ndarray
    side: float
    turn_rad: float = 0.0

    @property
    def matrix(self):
        """[2, 2], from offsets in crop sides to offsets in the photo's pixels."""
        cosine, sine = np.cos(self.turn_rad), np.sin(self.turn_rad)
        return self.side * np.array([[cosine, -sine], [sine, cosine]])

    def to_photo(self, places):
        """Returns places [..., 2] in crop sides as the photo's pixels."""
        return (np.asarray(places) - 0.5) @ self.matrix.T + self.center

    def from_photo(self, pixels):
        """Returns the photo's pixels [..., 2] in crop sides."""
        return (np.asarray(pixels) - self.center) @ np.linalg.inv(self.matrix).T + 0.5

    def cut(self, photo, size):
        """Returns the square as [size, size, C]; beyond the photo its rim goes on."""
        return next(cut_all(photo, [self], size))

    def _cut_copy(self, photo, ratio, size):
        """Returns what `cut` does, of a photo's copy and its pixels per pixel of it, [2]."""
        center, scale = self.center * ratio, size / self.side / ratio.mean()
        cosine, sine = np.cos(self.turn_rad) * scale, np.sin(self.turn_rad) * scale
        inverse = np.array([[cosine, sine], [-sine, cosine]])
        offset = size / 2 - inverse @ center
        matrix = np.concatenate([inverse, offset[:, None]], 1)
        matrix[:, 2] += inverse @ [0.5, 0.5] - 0.5
        return cv2.warpAffine(
            photo, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )


def cut_all(photo, crops, size):
    """Yields what Crop.cut returns of each of some Crops.

    The photo is made smaller once for all of one side that follow one another.
    """
    side = None
    for crop in crops:
        if crop.side != side:
            side = crop.side
            copy, ratio = _smaller(photo, size / side)
        yield crop._cut_copy(copy, ratio, size)


def _smaller(photo, scale):
    """Returns a photo of which crops of a scale skip no pixels; its pixels per pixel, [2]."""
    if scale >= _SMALL:
        return photo, np.ones(2)
    factor = max(scale * 1.6, 1 / max(photo.shape[:2]))
    shape = [max(1, round(n * factor)) for n in photo.shape[1::-1]]
    copy = cv2.resize(photo, shape, interpolation=cv2.INTER_AREA)
    return copy, np.array(shape) / photo.shape[1::-1]


def recentred(crop, places, seen, layout_mean):
    """Returns the Crop in which the points would lie as in the network's training pictures.

    The similarity that carries the mean layout onto the places is found from the points; those
    that are not seen count less.

    Args:
        crop: the Crop that the places are of.
        places: [P, 2] in its sides.
        seen: [P] in [0, 1].
        layout_mean: [P, 2] mean layout, crop sides.
    """
    weights = 0.2 + seen
    weights = weights / weights.sum()
    mean_place, mean_layout = weights @ places, weights @ layout_mean
    centred, layout = places - mean_place, layout_mean - mean_layout
    # Least squares over complex numbers: a turn and a scale at once.
    there, here = centred @ [1, 1j], layout @ [1, 1j]
    turn = np.angle(np.sum(weights * there * here.conj()))
    # The spread, not the fit, says the size: of a turned head the layout is narrower.
    spread = np.sqrt((weights * np.abs(there) ** 2).sum() / (weights * np.abs(here) ** 2).sum())
    middle = mean_place + spread * _turned(0.5 - mean_layout, turn)
    return Crop(crop.to_photo(middle), crop.side * spread, crop.turn_rad + turn)


def _turned(vector, turn):
    cosine, sine = np.cos(turn), np.sin(turn)
    return np.array([[cosine, -sine], [sine, cosine]]) @ vector
