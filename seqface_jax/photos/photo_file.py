"""Photos from disk: any kind that cameras and phones write, whole or refused, never huge."""

import io
import os
import re
import stat
import warnings

import cv2
import numpy as np
from PIL import Image

from seqface_jax.errors import UserError

MAX_PIXELS = 150_000_000  # 450 MB decoded; the largest cameras of photographers have 150 million.
MAX_BYTES = 1 << 28
# Pillow's name of each format that is read, and the endings of its files. What counts for a photo
# named by a person is its content; among a folder's files the endings tell which are photos.
ENDINGS_OF = {
    'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif'),
    'PNG': ('.png',),
    'BMP': ('.bmp',),
    'TIFF': ('.tif', '.tiff'),
    'WEBP': ('.webp',),
    'GIF': ('.gif',),
    'PPM': ('.ppm', '.pgm', '.pbm', '.pnm'),
}
FORMATS = tuple(ENDINGS_OF)
ENDINGS = sum(ENDINGS_OF.values(), ())
# Within coded data FF is followed by 0 or by a restart; anything else ends it.
_JPEG_MARKER = re.compile(rb'\xff([^\x00\xd0-\xd7\xff])')
_JPEG_END = 0xD9


def read(path):
    """Reads a photo, uint8 RGB [H, W, 3], turned upright as its EXIF tag says.

    Gray, CMYK, palette and 16 bit become 8 bit RGB, transparency is dropped, of an animation the
    first picture is taken.

    Raises:
        UserError: there is no such file; it is no picture of FORMATS, is cut short, or is too
            large.
    """
    path = os.fspath(path)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # A pipe would be waited for, a device has no end.
            raise UserError(f'cannot read the photo {path}: it is not a file')
        if status.st_size > MAX_BYTES:
            raise UserError(f'{path} has {status.st_size} bytes, too many for a photo: shrink it')
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        raise UserError(f'cannot read the photo {path}: {error.strerror or error}') from error
    check_size(path, data)
    try:
        photo = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        photo = None
    if photo is None or not _is_whole(data):
        raise UserError(f'{path} is not a readable picture (cut short or damaged)')
    return photo


def check_size(path, data):
    """Raises UserError unless the header is of a picture that may be decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
    except Image.DecompressionBombError:
        width, height = MAX_PIXELS, 2
    except Exception as error:  # noqa: BLE001 - its parsers raise many kinds on damaged headers.
        raise UserError(
            f'{path} is not a readable picture (empty, cut short or another format)'
        ) from error
    if width * height > MAX_PIXELS:
        raise UserError(f'{path} has more than {MAX_PIXELS // 10**6} million pixels: shrink it')


def _is_whole(data):
    """Returns whether the end of a file is there; OpenCV fills what is missing with gray."""
    if data.startswith(b'\xff\xd8'):
        return _jpeg_is_whole(data)
    if data.startswith(b'\x89PNG'):
        return b'IEND' in data[-4096:]  # Some programs append a little.
    if data.startswith(b'RIFF'):
        return len(data) >= 8 + int.from_bytes(data[4:8], 'little')
    return True


def _jpeg_is_whole(data):
    """Walks the segments of a JPEG file (ITU-T T.81, annex B) to its end marker."""
    position = 2
    while match := _JPEG_MARKER.search(data, position):
        marker, position = match.group(1)[0], match.end()
        if marker == _JPEG_END:
            return True
        length = int.from_bytes(data[position : position + 2], 'big')
        if marker != 0x01:  # TEM alone has no length; a thumbnail inside a segment is passed over.
            position += max(length, 2)
    return False
