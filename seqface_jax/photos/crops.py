"""The square that is cut out of a photo around a detected box, and its size for a network."""

import cv2
import numpy as np

CROP_SIZE = 256  # Pixels, both ways.
CROP_SCALE = 1.45  # Side of the crop over side of the detected box: hairline to below the chin.
# Shift as a share of the detected box's side; Haar boxes sit high on the face.
CROP_SHIFT_DOWN = 0.1


def crop_box(face_box, scale=CROP_SCALE, shift_down=CROP_SHIFT_DOWN):
    """Returns the square to cut out around a detected box, [4] float32 whole pixels.

    It may reach beyond the photo.
    """
    x0, y0, x1, y1 = (float(value) for value in face_box)
    side = max(2, round(scale * (x1 - x0)))
    left = round((x0 + x1 - side) / 2)
    top = round((y0 + y1 - side) / 2 + shift_down * (y1 - y0))
    return np.array([left, top, left + side, top + side], np.float32)


def cut_out(photo, box, size=CROP_SIZE):
    """Cuts a square of whole pixels out of a photo and resizes it, [size, size, 3] uint8.

    What lies beyond the photo is filled by mirroring it at its border.
    """
    height, width = photo.shape[:2]
    x0, y0, x1, y1 = (int(value) for value in box)
    inside = photo[max(y0, 0) : max(min(y1, height), 0), max(x0, 0) : max(min(x1, width), 0)]
    if inside.size == 0:
        raise ValueError(f'the box {box} lies outside the {width} x {height} photo')
    border = (max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0))
    if any(border):
        inside = cv2.copyMakeBorder(inside, *border, cv2.BORDER_REFLECT)
    shrinks = x1 - x0 > size
    return cv2.resize(
        inside, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )


def at_size(crop, size):
    """Returns a square crop as a network of that image size is shown it, [size, size, 3]."""
    if crop.shape[:2] == (size, size):
        return crop
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
