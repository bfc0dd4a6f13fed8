"""What a file is, told by its first bytes: a photo, a video, or something else by name.

Endings lie: phones rename, messengers drop them. The ending decides only between a photo and a bare
stream of JPEG pictures, which begin alike.
"""

import os
import re
import stat
import struct
from typing import NamedTuple

PHOTO, VIDEO, OTHER = 'photo', 'video', 'other'
HEIC, AVIF = 'HEIC', 'AVIF'
# Kinds of photo that are read, as a person is told them.
PHOTO_KINDS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WebP', 'GIF', 'PPM', 'JPEG 2000', AVIF, HEIC)
# Endings that promise a photo: such a file is a damaged one, whatever its bytes say.
PHOTO_ENDINGS = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif')
PHOTO_ENDINGS += ('.ppm', '.pgm', '.pbm', '.pnm', '.jp2', '.j2k', '.avif', '.heic', '.heif')
PHOTO_ENDINGS += ('.hif', '.jpx', '.jpf', '.j2c', '.jpc', '.dib', '.apng')
_STREAM_ENDINGS = ('.mjpg', '.mjpeg')  # Bare JPEG pictures one after the other.
# Endings that promise a video.
VIDEO_ENDINGS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv')
VIDEO_ENDINGS += ('.mts', '.m2ts', '.ts', '.3gp', '.3g2', '.flv', '.ogv', '.vob', '.asf', '.dv')
VIDEO_ENDINGS += _STREAM_ENDINGS
_HEAD_BYTES = 4096
_STREAM_BYTES = 1 << 25  # Bytes in which a bare stream of JPEG pictures shows at least three.
_HEIC_BRANDS = {b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'hevm', b'hevs'}
_HEIC_BRANDS |= {b'mif1', b'msf1', b'mif2'}
_AVIF_BRANDS = {b'avif', b'avis'}
_AUDIO_BRANDS = {b'M4A ', b'M4B ', b'M4P '}
# Atoms with which QuickTime files begin that have no `ftyp`.
_QUICKTIME_ATOMS = {b'moov', b'mdat', b'wide', b'free', b'skip', b'pnot'}
_PHOTO_SIGNATURES = (
    (b'\xff\xd8\xff', 'JPEG'),
    (b'\x89PNG\r\n\x1a\n', 'PNG'),
    (b'BM', 'BMP'),
    (b'GIF8', 'GIF'),
    (b'\x00\x00\x00\x0cjP  ', 'JPEG 2000'),
    (b'\xff\x4f\xff\x51', 'JPEG 2000'),
)
_VIDEO_SIGNATURES = (
    (b'\x1aE\xdf\xa3', 'Matroska or WebM'),
    (b'0&\xb2u\x8ef\xcf\x11', 'Windows Media'),
    (b'FLV', 'Flash'),
    (b'OggS', 'Ogg'),
    (b'\x00\x00\x01\xba', 'MPEG'),
    (b'\x00\x00\x01\xb3', 'MPEG'),
    (b'DKIF', 'IVF'),
    (b'YUV4MPEG2', 'YUV4MPEG'),
    (b'.RMF', 'RealMedia'),
    (b'\x06\x0e\x2b\x34', 'MXF'),
    (b'\x1f\x07\x00', 'DV'),
    (b'\x9f\x07\x00', 'DV'),
    (b'nut/multimedia container', 'NUT'),
)
_OTHER_SIGNATURES = (
    (b'8BPS', 'a Photoshop file'),
    (b'\xff\x0a', 'a JPEG XL picture'),
    (b'\x00\x00\x00\x0cJXL ', 'a JPEG XL picture'),
    (b'v/1\x01', 'an OpenEXR picture'),
    (b'#?RADIANCE', 'a Radiance HDR picture'),
    (b'II\xbc\x01', 'a JPEG XR picture'),
    (b'\x00\x00\x01\x00', 'an icon'),
    (b'icns', 'an icon'),
    (b'FUJIFILMCCD-RAW', 'a raw file of a camera'),
    (b'IIRO', 'a raw file of a camera'),
    (b'IIRS', 'a raw file of a camera'),
    (b'MMOR', 'a raw file of a camera'),
    (b'IIU\x00', 'a raw file of a camera'),
    (b'FOVb', 'a raw file of a camera'),
    (b'%PDF', 'a PDF file'),
    (b'PK\x03\x04', 'a ZIP archive or a file made of one'),
    (b'Rar!', 'an archive'),
    (b'7z\xbc\xaf', 'an archive'),
    (b'\x1f\x8b', 'an archive'),
    (b'glTF', 'a 3D model'),
    (b'ply\n', 'a 3D model'),
    (b'ply\r', 'a 3D model'),
    (b'#VRML', 'a 3D model'),
    (b'\x00\x00\x00\x01Bud1', 'a settings file of a folder in macOS'),
    (b'\x00\x05\x16\x07', 'a companion file of macOS, without a picture'),
    (b'version https://git-lfs', 'a placeholder of Git LFS, whose picture was not downloaded'),
    (b'ID3', 'a sound file'),
    (b'fLaC', 'a sound file'),
)
_RAW = 'a raw file of a camera'
# Tags of the first directory of a TIFF file.
_SUBFILE_TYPE, _PHOTOMETRIC, _DNG_VERSION = 254, 262, 50706
_COLOUR_FILTER_ARRAY, _LINEAR_RAW = 32803, 34892
# A segment's marker within a JPEG file; 0 and restarts follow FF within coded data.
_JPEG_MARKER = re.compile(rb'\xff([^\x00\xd0-\xd7\xff])')
_JPEG_END = 0xD9


class FileKind(NamedTuple):
    """What a file is.

    Attributes:
        group: PHOTO, VIDEO or OTHER.
        name: of PHOTO_KINDS; the container of a video; else a few words with their article.
    """

    group: str
    name: str


def of_path(path):
    """Returns the Kind of a file or folder; OSError if its bytes cannot be read."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        return FileKind(OTHER, 'a folder')
    if not stat.S_ISREG(mode):  # A pipe would be waited for, a device has no end.
        return FileKind(OTHER, 'not a file')
    with open(path, 'rb') as file:
        head = file.read(_HEAD_BYTES)
        if head.startswith(b'\xff\xd8') and len(head) == _HEAD_BYTES:
            head += file.read(_STREAM_BYTES)
    return of_bytes(head, path)


def promises_photo(path):
    """Returns whether a file is meant as a photo, by its ending.

    macOS puts a companion ._a.jpg without a picture beside a.jpg on foreign disks.
    """
    if os.path.basename(path).startswith('._'):
        return False
    return os.path.splitext(path)[1].lower() in PHOTO_ENDINGS


def promises_video(path):
    """Returns whether a file is meant as a video, by its ending."""
    return os.path.splitext(path)[1].lower() in VIDEO_ENDINGS


def of_bytes(data, name=''):
    """Returns the Kind of a file by its first bytes (or all of them) and its name."""
    if not data:
        return FileKind(OTHER, 'an empty file')
    for signature, what in _PHOTO_SIGNATURES:
        if data.startswith(signature):
            if what == 'JPEG' and _is_jpeg_stream(data, name):
                return FileKind(VIDEO, 'Motion JPEG')
            return FileKind(PHOTO, what)
    if data[:2] in (b'II', b'MM') and data[2:4] in (b'*\0', b'\0*', b'+\0', b'\0+'):
        return FileKind(OTHER, _RAW) if _is_camera_raw(data) else FileKind(PHOTO, 'TIFF')
    if re.match(rb'P[1-6]\s', data):
        return FileKind(PHOTO, 'PPM')
    if data[:4] == b'RIFF':
        return _of_riff(data[8:12])
    if data[4:8] == b'ftyp' or data[4:8] in _QUICKTIME_ATOMS:
        return _of_base_media(data)
    for signature, what in _VIDEO_SIGNATURES:
        if data.startswith(signature):
            return FileKind(VIDEO, what)
    if _is_transport_stream(data):
        return FileKind(VIDEO, 'MPEG transport stream')
    for signature, what in _OTHER_SIGNATURES:
        if data.startswith(signature):
            return FileKind(OTHER, what)
    if re.match(rb'\0?\0\0\x01[\x67\x27\x09\x40\x42\x46]', data):
        return FileKind(VIDEO, 'H.264 or HEVC')
    return FileKind(OTHER, _text_or_unknown(data))


def jpeg_end(data, start=0):
    """Returns where a JPEG picture that begins at `start` ends, after its end marker; or None.

    Walks the segments (ITU-T T.81, annex B): a thumbnail inside one is passed over.
    """
    position = start + 2
    while match := _JPEG_MARKER.search(data, position):
        marker, position = match.group(1)[0], match.end()
        if marker == _JPEG_END:
            return position
        length = int.from_bytes(data[position : position + 2], 'big')
        if marker != 0x01:  # TEM alone has no length.
            position += max(length, 2)
    return None


def _is_jpeg_stream(data, name):
    """Returns whether JPEG pictures follow one another without anything between them.

    Photos with a second picture or two (of two lenses, of brightness beyond white) say so in their
    MPF segment.
    """
    named = os.path.splitext(name)[1].lower() in _STREAM_ENDINGS
    end, count = 0, 0
    while end is not None and data[end : end + 3] == b'\xff\xd8\xff' and count < 3:
        start, count = end, count + 1
        end = jpeg_end(data, start)
        if b'MPF\0' in data[start : start + _HEAD_BYTES * 16] and not named:
            return False
    return count >= (2 if named else 3)


def _is_camera_raw(data):
    """Returns whether a TIFF file is a camera's raw file: its first picture is a thumbnail."""
    if data[8:10] == b'CR':  # Canon's CR2.
        return True
    order = '<' if data[:2] == b'II' else '>'
    try:
        (offset,) = struct.unpack_from(order + 'I', data, 4)
        (count,) = struct.unpack_from(order + 'H', data, offset)
        for index in range(min(count, 256)):
            entry = offset + 2 + 12 * index
            tag, kind = struct.unpack_from(order + 'HH', data, entry)
            (value,) = struct.unpack_from(order + ('H' if kind == 3 else 'I'), data, entry + 8)
            if tag == _DNG_VERSION or (tag == _SUBFILE_TYPE and value & 1):
                return True
            if tag == _PHOTOMETRIC and value in (_COLOUR_FILTER_ARRAY, _LINEAR_RAW):
                return True
    except struct.error:  # The directory lies further on, as scanners write it.
        return False
    return False


def _of_riff(form):
    if form == b'WEBP':
        return FileKind(PHOTO, 'WebP')
    if form in (b'AVI ', b'AVIX'):
        return FileKind(VIDEO, 'AVI')
    return FileKind(OTHER, 'a sound file' if form == b'WAVE' else 'of an unknown kind')


def _of_base_media(data):
    """Tells the kinds of ISO base media files (ISO/IEC 14496-12) by their brands."""
    if data[4:8] != b'ftyp':
        return FileKind(VIDEO, 'QuickTime')
    size = int.from_bytes(data[:4], 'big')
    brands = {data[8:12]} | {data[i : i + 4] for i in range(16, min(size, len(data)), 4)}
    if data[8:12] == b'crx ':
        return FileKind(OTHER, _RAW)
    if data[8:12] in _AVIF_BRANDS or (data[8:12] in _HEIC_BRANDS and brands & _AVIF_BRANDS):
        return FileKind(PHOTO, AVIF)
    if data[8:12] in _HEIC_BRANDS:
        return FileKind(PHOTO, HEIC)
    return (
        FileKind(OTHER, 'a sound file') if data[8:12] in _AUDIO_BRANDS else FileKind(VIDEO, 'MP4')
    )


def _is_transport_stream(data):
    """Returns whether packets of 188, 192 (with a time before each) or 204 bytes follow."""
    return any(
        len(data) > first + 3 * step and all(data[first + k * step] == 0x47 for k in range(4))
        for first, step in ((0, 188), (4, 192), (0, 204))
    )


def _text_or_unknown(data):
    head = data[:_HEAD_BYTES]
    if b'\0' not in head:
        try:
            head.decode('utf-8')
            return 'a text file'
        except UnicodeDecodeError as error:
            if error.start > len(head) - 4:  # A letter of several bytes, cut by our own limit.
                return 'a text file'
    return 'of an unknown kind'
