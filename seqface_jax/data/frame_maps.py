"""The maps of one frame as bytes: what a record keeps of them, and what comes back.

A frame's maps are the face of its own expression on the grid of `map_grid`, without the
head's pose (frame_map, mm), and the same points as the photo's crop shows them (image_map).
"""

import zlib
from typing import NamedTuple

import numpy as np

from seqface_jax.geometry import map_grid

_RADIUS_STEP_MM = 0.01
_IMAGE_STEP = 1 / 16384  # Step of stored x and y, in crop widths; a sixtieth of a pixel of 256.
_IMAGE_START = -1.5  # x and y from here to 2.5 are kept: a crop may cut a face.
_LARGEST = 2**16 - 1


class FrameMaps(NamedTuple):
    """The maps of one frame.

    frame_map: [S, S, 3] float32 mm, canonical frame, pixel by pixel on the grid's rays.
    frame_mask: [S, S] bool, where the scan has surface.
    image_map: [S, S, 3] float32, in units of the crop's width: x right and y down from its upper
        left corner, z towards the camera with minimum 0; 0 outside image_mask.
    image_mask: [S, S] bool, where it is known.
    """

    frame_map: np.ndarray
    frame_mask: np.ndarray
    image_map: np.ndarray
    image_mask: np.ndarray


def empty(size=map_grid.SIZE):
    """Returns the FrameMaps of a frame without a scan: nothing is valid."""
    points, mask = np.zeros((size, size, 3), np.float32), np.zeros((size, size), bool)
    return FrameMaps(points, mask, points, mask)


def encode(maps):
    """Returns FrameMaps as bytes: radii to 0.01 mm, image places to 1/16384 of the crop.

    Neighbours differ little, so differences along the rows, high bytes apart from low ones, are
    what zlib packs well: about a third of the plain 16 bit numbers.
    """
    radius = np.linalg.norm(maps.frame_map.astype(np.float64), axis=-1) / _RADIUS_STEP_MM
    image = (maps.image_map.astype(np.float64) - [_IMAGE_START, _IMAGE_START, 0]) / _IMAGE_STEP
    image = np.where(maps.image_mask[..., None], image, 0)
    planes = np.concatenate([radius[None], np.moveaxis(image, -1, 0)])
    planes = np.clip(np.rint(planes), 0, _LARGEST).astype(np.uint16)
    steps = np.diff(planes, axis=-1, prepend=np.uint16(0))  # Wraps around, and back.
    masks = np.packbits(np.stack([maps.frame_mask, maps.image_mask]))
    size = np.array([len(maps.frame_mask)], '<u2')
    parts = (size, (steps >> 8).astype(np.uint8), steps.astype(np.uint8), masks)
    return zlib.compress(b''.join(part.tobytes() for part in parts))


def decode(data):
    """Returns the FrameMaps of `encode`; of no bytes, those of a frame without a scan.

    Raises:
        ValueError: the bytes are cut short or of something else.
    """
    if not data:
        return empty()
    try:
        data = np.frombuffer(zlib.decompress(data), np.uint8)
    except zlib.error as error:
        raise ValueError(f'no maps of a frame ({error})') from error
    size = int(data[:2].view('<u2')[0]) if len(data) > 2 else 0
    count = 4 * size * size
    if size == 0 or len(data) != 2 + 2 * count + (2 * size * size + 7) // 8:
        raise ValueError('no maps of a frame (another length)')
    high, low = data[2 : 2 + count], data[2 + count : 2 + 2 * count]
    steps = (high.astype(np.uint16) << 8) + low
    planes = np.cumsum(steps.reshape(4, size, size), axis=-1, dtype=np.uint16)
    masks = np.unpackbits(data[2 + 2 * count :], count=2 * size * size).reshape(2, size, size)
    frame_mask, image_mask = masks.astype(bool)
    radius = planes[0, ..., None] * np.float32(_RADIUS_STEP_MM)
    image = np.moveaxis(planes[1:], 0, -1) * np.float32(_IMAGE_STEP)
    image += np.array([_IMAGE_START, _IMAGE_START, 0], np.float32)
    image[~image_mask] = 0
    directions = map_grid.ray_directions(size).astype(np.float32)
    return FrameMaps(radius * directions, frame_mask, image, image_mask)


def yaw_deg(rotation):
    """Returns how far a head is turned to its left as the camera sees it, degrees.

    Args:
        rotation: [..., 3, 3], canonical frame -> camera frame (x right, y up, z to the camera).
    """
    return np.degrees(np.arctan2(rotation[..., 0, 2], rotation[..., 2, 2]))
