"""Colours of photos: numbers of any colour space become numbers of sRGB.

Phones write Display P3, cameras Adobe RGB: the same numbers stand for stronger colours there. The
file says so in an ICC profile, or (Adobe RGB by the rules of camera makers) in its EXIF data.
"""

import functools
import io
import struct

import numpy as np
from PIL import Image, ImageCms

SRGB_DIFFERENCE = 2  # A profile that changes no colour by more, of 255 levels, is taken for sRGB.
_PROBE_STEPS = 9  # Levels of each channel at which a profile is compared with sRGB.
_STRIP_ROWS = 512  # Rows that are converted at once, which bounds the memory.
# CIE xy of red, green and blue of Adobe RGB (1998), and its exponent.
ADOBE_RGB_PRIMARIES = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
ADOBE_RGB_GAMMA = 563 / 256
_D65 = (0.3127, 0.3290)
# Kind of number of a profile: Pillow's modes that hold it; the first is converted.
_MODES = {b'CMYK': ('CMYK',), b'Lab ': ('LAB',), b'GRAY': ('L', 'LA')}
_INTEROPERABILITY, _INDEX, _ADOBE = 0xA005, 1, 'R03'  # EXIF 2.3, annex C: DCF's optional space.


def profile_of(picture):
    """Returns the ICC profile of an open Pillow picture's numbers, bytes; None: sRGB."""
    profile = picture.info.get('icc_profile')
    if profile and (not needs_own_channels(profile) or _fits(picture, profile)):
        return profile
    if picture.format == 'JPEG' or picture.format == 'MPO':
        index = picture.getexif().get_ifd(_INTEROPERABILITY).get(_INDEX, '')
        if str(index).strip('\0 ') == _ADOBE:
            return adobe_rgb()
    return None


def needs_own_channels(profile):
    """Returns whether a profile is of numbers that RGB no longer holds, such as those of CMYK."""
    return profile is not None and profile[16:20] in _MODES


def to_srgb(photo, profile):
    """Converts a photo [H, W, 3] uint8 RGB from an RGB profile to sRGB.

    A damaged profile, or one of another kind of numbers, is passed over, as browsers do.
    """
    if profile is None or profile[16:20] != b'RGB ':
        return photo
    transform = _transform(profile, 'RGB')
    if transform is None:
        return photo
    converted = np.empty_like(photo)
    for row in range(0, len(photo), _STRIP_ROWS):
        strip = Image.fromarray(photo[row : row + _STRIP_ROWS])
        converted[row : row + _STRIP_ROWS] = np.asarray(transform.apply(strip))
    return converted


def picture_to_srgb(picture, profile):
    """Returns a Pillow picture of any mode as [H, W, 3] uint8 RGB in sRGB."""
    if needs_own_channels(profile) and _fits(picture, profile):
        mode = _MODES[profile[16:20]][0]
        transform = _transform(profile, mode)
        if transform is not None:
            return np.array(transform.apply(picture.convert(mode)))
    return to_srgb(np.array(picture.convert('RGB')), profile)


def _fits(picture, profile):
    return picture.mode in _MODES[profile[16:20]]


@functools.lru_cache(maxsize=8)
def _transform(profile, mode):
    """Returns what converts Pillow pictures of a mode to sRGB; None where nothing is to be done."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile('sRGB'), mode, 'RGB')
    except (ImageCms.PyCMSError, OSError):  # Damaged, or of another kind than it says.
        return None
    if mode != 'RGB':
        return transform
    levels = np.linspace(0, 255, _PROBE_STEPS).round().astype(np.uint8)
    probe = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    seen = np.asarray(transform.apply(Image.fromarray(probe)))
    changed = np.abs(seen.astype(int) - probe).max()
    return transform if changed > SRGB_DIFFERENCE else None


@functools.cache
def adobe_rgb():
    """Returns the ICC profile of Adobe RGB (1998)."""
    return make_profile(ADOBE_RGB_PRIMARIES, ADOBE_RGB_GAMMA)


def make_profile(primaries, gamma):
    """Makes the ICC profile (version 2, ICC.1:2001-04) of an RGB space with the white D65.

    Args:
        primaries: CIE xy of red, green and blue.
        gamma: exponent of all three.

    Returns:
        bytes.
    """
    white = _xyz(_D65)
    columns = np.stack([_xyz(xy) for xy in primaries], axis=1)
    columns = columns * np.linalg.solve(columns, white)
    # Profiles are relative to the white D50; Bradford's adaptation.
    bradford = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    d50 = np.array([0.9642, 1.0, 0.8249])
    scale = np.diag((bradford @ d50) / (bradford @ white))
    columns = np.linalg.solve(bradford, scale @ bradford @ columns)
    curve = b'curv\0\0\0\0' + struct.pack('>IH', 1, round(gamma * 256)) + b'\0\0'
    name = b'RGB\0'
    text = b'desc\0\0\0\0' + struct.pack('>I', len(name)) + name + bytes(78)
    tags = {b'desc': text + bytes(-len(text) % 4), b'wtpt': _xyz_tag(d50)}
    for index, letter in enumerate((b'r', b'g', b'b')):
        tags[letter + b'XYZ'] = _xyz_tag(columns[:, index])
        tags[letter + b'TRC'] = curve
    return _assemble(tags, d50)


def _assemble(tags, white):
    place = 128 + 4 + 12 * len(tags)
    table, content = struct.pack('>I', len(tags)), b''
    for signature, data in tags.items():
        table += signature + struct.pack('>II', place + len(content), len(data))
        content += data
    size = place + len(content)
    header = struct.pack('>I4sI4s4s4s', size, b'', 0x02400000, b'mntr', b'RGB ', b'XYZ ')
    header += struct.pack('>6H', 2000, 1, 1, 0, 0, 0) + b'acsp' + bytes(28) + _fixed(white)
    return header.ljust(128, b'\0') + table + content


def _xyz(xy):
    x, y = xy
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _xyz_tag(values):
    return b'XYZ \0\0\0\0' + _fixed(values)


def _fixed(values):
    """Returns numbers as s15Fixed16, big-endian."""
    return struct.pack('>3i', *(round(float(value) * 65536) for value in values))
