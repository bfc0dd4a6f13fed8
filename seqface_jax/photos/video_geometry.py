"""How a video wants its frames shown: turned, mirrored, and how wide its pixels are.

OpenCV turns frames by what FFmpeg reads of their rotation, but knows no mirror, takes a mirrored
matrix for a rotation, and leaves pixels square. So its turning is switched off, and done here.

Sources: ISO/IEC 14496-12, 8.2.2 and 8.3.2 (matrices of a movie and its tracks); Matroska's
specification (RFC 9559, 5.1.4.1.28.41, projection), of which FFmpeg reads rotations and mirrors.
"""

import math
import os
import struct
from typing import NamedTuple

import cv2
import numpy as np

from seqface_jax.errors import UserError

_MAX_ASPECT = 4.0  # Pixels wider or higher than this many times are taken for damage.
_SQUARE = 0.005  # A pixel's width over its height may differ from 1 by so much without resizing.
_TOLERANCE = 0.02  # Tolerance of a matrix's entries: what turns by less stays as it is.
# Most bytes of Matroska's description of its tracks, which comes first.
_MAX_HEADER_BYTES = 1 << 20
_CONTAINERS = {b'moov', b'trak', b'mdia'}
# Matroska's element numbers.
_SEGMENT, _TRACKS, _TRACK, _TYPE = 0x18538067, 0x1654AE6B, 0xAE, 0x83
_VIDEO, _PROJECTION, _YAW, _PITCH, _ROLL = 0xE0, 0x7670, 0x7673, 0x7674, 0x7675
_OPENED = {_SEGMENT, _TRACKS, _TRACK, _VIDEO, _PROJECTION}


class PixelGeometry(NamedTuple):
    """What is done to a decoded frame.

    Attributes:
        matrix: [2, 2] of 0, 1 and -1: where the frame's right and down go, as columns, in
            coordinates that run to the right and down.
        aspect: width of a stored pixel over its height.
    """

    matrix: np.ndarray
    aspect: float

    def apply(self, image, max_side=None):
        """Shows a frame as its video wants it.

        Args:
            image: [H, W, 3] uint8 BGR, as decoded.
            max_side: pixels; a frame whose longer side has more is shrunk to it. None: is not.

        Returns:
            photo [H', W', 3] uint8 RGB; float, its pixels per pixel of the frame as shown.
        """
        height, width = image.shape[:2]
        shown_width, shown_height = width * max(1, self.aspect), height * max(1, 1 / self.aspect)
        scale = min(1.0, (max_side or np.inf) / max(shown_width, shown_height))
        size = max(1, round(shown_width * scale)), max(1, round(shown_height * scale))
        if size != (width, height):  # Once, and before anything else looks at all its pixels.
            kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            image = cv2.resize(image, size, interpolation=kind)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        (right_x, down_x), (right_y, down_y) = self.matrix
        if not right_x:
            image = image.transpose(1, 0, 2)
        flips = (right_y + down_y < 0, right_x + down_x < 0)
        image = image[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
        return np.ascontiguousarray(image), scale


UPRIGHT = PixelGeometry(np.eye(2, dtype=int), 1.0)


def read(path, capture):
    """Returns the PixelGeometry of a video, and switches OpenCV's own turning off.

    Args:
        path: of the video.
        capture: cv2.VideoCapture of it.

    Raises:
        UserError: the video wants to be shown in a way that cannot be done here.
    """
    aspect = _aspect(path, capture)
    if not capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0):
        return PixelGeometry(UPRIGHT.matrix, aspect)  # A backend that turns frames by itself.
    matrix = _base_media_matrix(path)
    if matrix is None:
        matrix = _matroska_matrix(path)
    if matrix is None:
        angle = math.radians(capture.get(cv2.CAP_PROP_ORIENTATION_META))  # Clockwise.
        matrix = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return PixelGeometry(_quarter_turns(path, np.array(matrix, float)), aspect)


def _aspect(path, capture):
    above = capture.get(cv2.CAP_PROP_SAR_NUM)
    below = capture.get(cv2.CAP_PROP_SAR_DEN)
    if not (above > 0 and below > 0):  # Not said: square.
        return 1.0
    aspect = above / below
    if not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
        raise UserError(
            f'the video {path} says that its pixels are {aspect:.3g} times as wide as high: that '
            'is not believable; convert it (ffmpeg -i IN -vf setsar=1 OUT.mp4)'
        )
    return 1.0 if abs(aspect - 1) < _SQUARE else aspect


def _quarter_turns(path, matrix):
    """Returns a matrix [2, 2] of 0, 1 and -1; UserError for one that does anything else."""
    lengths = np.linalg.norm(matrix, axis=0)
    whole = np.round(matrix / np.maximum(lengths, 1e-9))
    if (
        lengths.min() <= 0
        or np.abs(matrix / lengths - whole).max() > _TOLERANCE
        or abs(np.linalg.det(whole)) != 1
    ):
        angle = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
        raise UserError(
            f'the video {path} wants to be shown turned by {angle:.0f} degrees or skewed, only '
            'quarter turns and mirrors are known: convert it (ffmpeg -i IN OUT.mp4 turns its '
            'frames)'
        )
    return whole.astype(int)


def _base_media_matrix(path):
    """Returns the matrix [2, 2] of the first video track of an MP4, MOV or 3GP file; else None."""
    with open(path, 'rb') as file:
        if file.read(8)[4:] not in (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip', b'pnot'):
            return None
        size = os.path.getsize(path)
        movie, track = np.eye(2), None
        for kind, start, end in _boxes(file, 0, size):
            if kind == b'mvhd':
                movie = _box_matrix(file, start, end, 36)
            elif kind == b'tkhd':
                track = _box_matrix(file, start, end, 40)
            elif kind == b'hdlr' and track is not None:
                file.seek(start + 8)
                if file.read(4) == b'vide':
                    return track if movie is None else movie @ track
    return None


def _boxes(file, start, end):
    """Yields (kind, start, end) of the boxes that matter here, those inside others in order."""
    while start + 8 <= end:
        file.seek(start)
        size, kind = struct.unpack('>I4s', file.read(8))
        inside = start + 8
        if size == 1:
            size, inside = int.from_bytes(file.read(8), 'big'), start + 16
        stop = end if size == 0 else min(end, start + size)
        if stop < inside:
            return  # Damaged: OpenCV says whether it can be read.
        if kind in _CONTAINERS:
            yield from _boxes(file, inside, stop)
        else:
            yield kind, inside, stop
        start = stop


def _box_matrix(file, start, end, place):
    """Returns the matrix [2, 2] of a header box, whose version 1 has longer times; or None."""
    file.seek(start)
    data = file.read(end - start)
    place += 12 * (data[:1] == b'\1')
    if len(data) < place + 36:
        return None
    a, b, _, c, d = struct.unpack_from('>5i', data, place)
    return np.array([[a, c], [b, d]]) / 65536


def _matroska_matrix(path):
    """Returns the matrix [2, 2] of the first video track of a Matroska or WebM file; else None."""
    with open(path, 'rb') as file:
        data = file.read(_MAX_HEADER_BYTES)
    if not data.startswith(b'\x1aE\xdf\xa3'):
        return None
    yaw = pitch = roll = 0.0
    kind = None
    for number, content in _elements(data, 0, len(data)):
        if number == _TRACK and kind == 1:
            break
        if number == _TRACK:
            yaw = pitch = roll = 0.0
        elif number == _TYPE:
            kind = int.from_bytes(content, 'big')
        elif number == _YAW:
            yaw = _real(content)
        elif number == _PITCH:
            pitch = _real(content)
        elif number == _ROLL:
            roll = _real(content)
    if kind != 1:
        return None
    angle = math.radians(-roll)  # Matroska's turns counter-clockwise.
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn @ np.diag([math.cos(math.radians(yaw)), math.cos(math.radians(pitch))])


def _elements(data, start, end):
    """Yields (number, bytes) of Matroska's elements, those inside _OPENED after their parent."""
    while start < end:
        number, start = _variable(data, start, keep_marker=True)
        size, start = _variable(data, start, keep_marker=False)
        if number is None or size is None or number == 0x1F43B675:  # The frames begin.
            return
        stop = min(end, start + size)
        yield number, data[start:stop] if number not in _OPENED else b''
        if number in _OPENED:
            yield from _elements(data, start, stop)
        start = stop


def _variable(data, start, *, keep_marker):
    """Reads a number of variable length (RFC 8794, 4); returns it, or None, and where it ends."""
    if start >= len(data) or not data[start]:
        return None, start
    length = 9 - data[start].bit_length()
    value = int.from_bytes(data[start : start + length], 'big')
    if not keep_marker:
        value &= (1 << 7 * length) - 1
        if value == (1 << 7 * length) - 1:  # Unknown size: to the end of what holds it.
            value = len(data)
    return value, start + length


def _real(content):
    return struct.unpack('>f' if len(content) == 4 else '>d', content)[0] if content else 0.0
