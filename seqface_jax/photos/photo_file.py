"""Photos from disk: any kind that cameras and phones write, whole or refused, never huge."""

import io
import os
import stat
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps

from seqface_jax.errors import UserError
from seqface_jax.photos import colours, file_kinds, own_files

MAX_PIXELS = 150_000_000  # 450 MB decoded; the largest cameras of photographers have 150 million.
MAX_BYTES = 1 << 28
# Pillow's name of each of file_kinds.PHOTO_KINDS.
_PILLOW_NAMES = {
    'JPEG': 'JPEG',
    'PNG': 'PNG',
    'BMP': 'BMP',
    'TIFF': 'TIFF',
    'WebP': 'WEBP',
    'GIF': 'GIF',
    'PPM': 'PPM',
    'JPEG 2000': 'JPEG2000',
    file_kinds.AVIF: 'AVIF',
    file_kinds.HEIC: 'HEIF',
}
# Kinds that say in boxes of their own how the picture is turned, which OpenCV does not read.
_DECODED_BY_PILLOW = (file_kinds.AVIF, file_kinds.HEIC)
UNREADABLE, NO_PHOTO, NO_HEIC = 'not readable', 'no photo', 'HEIC, which is not read here'
OWN = 'a picture of this program'
_CONVERT_HEIC = (
    'install what reads it (pip install pillow-heif), or convert it to JPEG: on an iPhone, choose '
    'Settings > Camera > Formats > Most Compatible; on a computer, heif-convert IN.heic OUT.jpg'
)


class PhotoError(UserError):
    """A photo that is not used: the sentence says why.

    Attributes:
        reason: a few words, the same for all photos with this fault.
    """

    def __init__(self, sentence, reason=UNREADABLE):
        super().__init__(sentence)
        self.reason = reason


def read(path):
    """Reads a photo, uint8 RGB [H, W, 3] in sRGB, turned upright as its EXIF tag says.

    Gray, CMYK, palette and 16 bit become 8 bit RGB, transparency is dropped, of an animation the
    first picture is taken.

    Raises:
        PhotoError: there is no such file; it is no picture of file_kinds.PHOTO_KINDS, is cut short
            or too large; or it is a picture that this program drew of a face.
    """
    path = os.fspath(path)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # A pipe would be waited for, a device has no end.
            raise PhotoError(f'cannot read the photo {path}: it is not a file', NO_PHOTO)
        if status.st_size > MAX_BYTES:
            raise PhotoError(f'{path} has {status.st_size} bytes, too many for a photo: shrink it')
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        raise PhotoError(f'cannot read the photo {path}: {error.strerror or error}') from error
    return decode(path, data)


def decode(path, data):
    """Returns the photo of a file's bytes, as `read`; `path` names it in messages."""
    kind = file_kinds.of_bytes(data, path)
    _check_kind(path, kind)
    if own_files.is_marked(data, path):
        raise PhotoError(f'{path} is a picture that this program drew, not a photo', OWN)
    profile = check_size(path, data)
    if not _is_whole(data):
        raise PhotoError(f'{path} is not a readable picture (cut short or damaged)')
    if kind.name in _DECODED_BY_PILLOW or colours.needs_own_channels(profile):
        return _decode_with_pillow(path, data, profile)
    try:
        photo = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        photo = None
    if photo is None:
        raise PhotoError(f'{path} is not a readable picture (cut short or damaged)')
    return colours.to_srgb(photo, profile)


def check_size(path, data):
    """Checks the header of a picture before it is decoded.

    Returns:
        bytes, the colour profile (ICC) that its numbers are of; None: of sRGB.

    Raises:
        PhotoError: it is no header of a picture, or announces one that is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Our own sentences say what is wrong.
            with Image.open(io.BytesIO(data), formats=_formats()) as picture:
                width, height = picture.size
                profile = colours.profile_of(picture)
    except Image.DecompressionBombError:
        width, height = MAX_PIXELS, 2
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - its parsers raise many kinds on damaged headers.
        raise PhotoError(
            f'{path} is not a readable picture (empty, cut short or another format)'
        ) from error
    if width * height > MAX_PIXELS:
        raise PhotoError(f'{path} has more than {MAX_PIXELS // 10**6} million pixels: shrink it')
    return profile


def can_read_heic():
    """Returns whether pillow-heif is installed, and tells Pillow of it."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _check_kind(path, kind):
    """Raises PhotoError for what is no photo, or of a kind that cannot be read here."""
    if kind.group == file_kinds.VIDEO:
        raise PhotoError(f'{path} is a video ({kind.name}), not a photo', NO_PHOTO)
    if kind.group == file_kinds.OTHER:
        raise PhotoError(
            f'{path} is not a readable picture but {kind.name}: photos of these kinds are read: '
            f'{", ".join(file_kinds.PHOTO_KINDS)}',
            UNREADABLE if file_kinds.promises_photo(path) else NO_PHOTO,
        )
    if kind.name == file_kinds.HEIC and not can_read_heic():
        raise PhotoError(f'{path} is a HEIC photo: {_CONVERT_HEIC}', NO_HEIC)


def _formats():
    heic = can_read_heic()
    return [name for name in _PILLOW_NAMES.values() if name != 'HEIF' or heic]


def _decode_with_pillow(path, data, profile):
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as picture:
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            return colours.picture_to_srgb(upright, profile)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - its decoders raise many kinds on damaged files.
        raise PhotoError(f'{path} is not a readable picture (cut short or damaged)') from error


def _is_whole(data):
    """Returns whether the end of a file is there; OpenCV fills what is missing with gray."""
    if data.startswith(b'\xff\xd8'):
        return file_kinds.jpeg_end(data) is not None
    if data.startswith(b'\x89PNG'):
        return b'IEND' in data[-4096:]  # Some programs append a little.
    if data.startswith(b'RIFF'):
        return len(data) >= 8 + int.from_bytes(data[4:8], 'little')
    return True
