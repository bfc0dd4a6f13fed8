"""Teeth where the fitted mesh has lips: places that must take no colour from a photo.

The fitted mouth is seldom open by as much as the one on the photo, so that teeth come to lie on the
lips of the mesh, mostly on the lower one. What is less red than skin and than the lips' outer part
and goes on from between the lips is taken for teeth, if some of it is bright. Where there are teeth
the mouth is open, and what is dark is its inside.
"""

import cv2
import numpy as np

from seqface_jax.reconstruction import photo_light

_FINER = 4  # Steps of a pixel of the grid.
_RIM = 2  # Width of the lips' outer part, pixels of the grid.
_MARGIN = 5  # Pixels of the grid around the lips, whose skin tells how red skin is.
_DARK = 0.003  # Added to linear colours before their logarithm.
_LESS_RED = 0.1  # Difference of log(red / green) from which on something is no skin.
_BRIGHT = 2.0  # Green light of teeth as a multiple of the lips', from which on they are believed.
_SHADOW = 0.35  # Brightness of the inside of a mouth, as a share of the lips'.
_LEAST = 0.02  # Area of teeth as a share of the lips', from which on they are believed.
_AROUND = 3  # Fine pixels around teeth that they may have part in.


class LipTexels:
    """The lips on a grid over the texture.

    Attributes:
        region: the grid's rows and columns with the lips, two slices.
    """

    def __init__(self, uv, mouth, size):
        """Takes a topology.

        Args:
            uv: [V, 2] in [0, 1], v up.
            mouth: mouth.Mouth.
            size: of the grid, pixels.
        """
        outer, inner = (
            (uv[own] * [1, -1] + [0, 1]) * (size - 1) for own in (mouth.outer, mouth.inner)
        )
        low = np.maximum(np.floor(outer.min(0)).astype(int) - _MARGIN, 0)
        high = np.minimum(np.ceil(outer.max(0)).astype(int) + _MARGIN + 1, size)
        self.region = slice(low[1], high[1]), slice(low[0], high[0])
        self._shape = tuple(_FINER * (high - low))  # Width and height.
        outside, self._between = (self._inside(own - low) for own in (outer, inner))
        self._lips = outside & ~self._between
        inwards = cv2.distanceTransform(outside.astype(np.uint8), cv2.DIST_L2, 3)
        self._outer = self._lips & (inwards < _RIM * _FINER)
        reach = np.ones((2 * _FINER + 1,) * 2, np.uint8)
        self._skin = ~(cv2.dilate(outside.astype(np.uint8), reach) > 0)

    def hidden(self, photo, place, *, is_open):
        """Returns which pixels of `region` show no lips on a photo, [H, W] bool.

        Args:
            photo: [H, W, 3] uint8 RGB.
            place: [H, W, 2] px, where the region's pixels are on the photo.
            is_open: whether the mouth of the fitted face is open.
        """
        x, y = np.moveaxis(cv2.resize(np.float32(place), self._shape) - 0.5, -1, 0)
        colors = cv2.remap(photo, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        linear = photo_light.to_linear(colors)
        red, green, _ = np.moveaxis(np.log(linear + _DARK), -1, 0)
        redness, brightness = red - green, green - np.median(green[self._outer])
        least_red = min(np.median(redness[own]) for own in (self._skin, self._outer))
        pale = redness < least_red - _LESS_RED
        bright = self._from_between(pale) & (brightness > np.log(_BRIGHT))
        if not (is_open or bright.sum() > _LEAST * self._lips.sum()):
            return np.zeros(place.shape[:2], bool)
        dark = brightness < np.log(_SHADOW)
        found = self._from_between(pale | dark) | self._between
        around = np.ones((2 * _AROUND + 1,) * 2, np.uint8)
        found = cv2.dilate(found.astype(np.uint8), around).astype(np.float32)
        return cv2.resize(found, place.shape[1::-1], interpolation=cv2.INTER_AREA) > 0

    def _from_between(self, chosen):
        """Returns which of the chosen pixels of the lips go on from between them, [h, w] bool."""
        chosen = (chosen & self._lips) | self._between
        _, number = cv2.connectedComponents(chosen.astype(np.uint8), connectivity=4)
        return np.isin(number, np.unique(number[self._between])) & self._lips & chosen

    def _inside(self, corners):
        """Returns the fine pixels inside a polygon [K, 2] of the region's pixels, [h, w] bool."""
        made = np.zeros(self._shape[::-1], np.uint8)
        corners = (corners + 0.5) * _FINER - 0.5
        cv2.fillPoly(made, [np.rint(corners).astype(np.int32)], 1)
        return made > 0
