"""The checks of a raw scan that all readers share, and the numbers and polygons of its file."""

import re
import warnings

import numpy as np

from data_prep.scans.scan import Scan, ScanError

MAX_VERTICES = 5_000_000  # A BU-4DFE scan has 35,000; far above that a header is corrupt.
MAX_CORNERS = 40_000_000  # Polygon corners of one file.
_SHOWN = 20  # Characters of a word that is no number, in a message.
_CHUNK = 1 << 16  # Bytes that are looked through at a time for that word.
_HALF_NUMBER = re.compile(rb'[-+](?![0-9.nNiI])|(?<![0-9])\.(?![0-9])')  # C reads them as 0.
_SPACE = re.compile(rb'\s')
_IS_BLANK = np.isin(np.arange(256), list(b' \t\n\r\v\f'))


def make_scan(path, vertices, triangles, uv=None, texture=None, notes=()):
    """Returns a Scan after the checks that hold for every format; raises ScanError.

    Vertices that are not finite and that no triangle uses, as organised scanners write them where
    they saw nothing, are left out.
    """
    with np.errstate(over='ignore'):  # What is too large is found below.
        vertices = np.asarray(vertices, np.float32).reshape(-1, 3)
    triangles = np.asarray(triangles).reshape(-1, 3)
    if len(vertices) == 0:
        raise ScanError(f'{path}: no vertices; give a scan with a surface.')
    if len(vertices) > MAX_VERTICES:
        raise ScanError(f'{path}: {len(vertices)} vertices; at most {MAX_VERTICES} are read.')
    if len(triangles) == 0:
        raise ScanError(f'{path}: no faces, only {len(vertices)} points; give a surface.')
    check_indices(path, 'faces', triangles, len(vertices), 'vertices')
    used = used_rows(len(vertices), triangles)
    check_finite(path, 'vertices', vertices, used)
    kept = np.isfinite(vertices).all(axis=1)
    if uv is not None:
        with np.errstate(over='ignore'):
            uv = np.asarray(uv, np.float32)
        check_finite(path, 'texture coordinates', uv, used)
        uv = np.where(used[:, None], uv, 0)[kept]
    if not kept.all():
        count = len(kept) - np.count_nonzero(kept)
        notes = (*notes, f'{count} of {len(kept)} vertices are not finite and in no face: left out')
        triangles = (np.cumsum(kept) - 1)[triangles]
    return Scan(vertices[kept], triangles.astype(np.int32), uv, local_name(texture), tuple(notes))


def local_name(name):
    """Returns the name of a file beside a scan or below it; None for one that leads elsewhere.

    A scan's file must not choose what else is opened: no drives, no URLs, no way up.
    """
    if not name or '\0' in name or ':' in name or name[0] in '/\\~':
        return None
    return None if '..' in re.split(r'[/\\]', name) else name


def check_finite(path, place, values, used=True):
    """Raises ScanError where a row of `values` that is `used` holds NaN or infinity."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=-1) & used)
    if len(bad):
        raise ScanError(f'{path}, {place}: row {bad[0]} is not finite; export the scan again.')


def used_rows(count, indices):
    """Returns [count] bool: the rows that `indices` name."""
    used = np.zeros(count, bool)
    used[indices] = True
    return used


def check_indices(path, place, indices, count, what):
    """Raises ScanError where an index is outside [0, count)."""
    bad = np.flatnonzero(((indices < 0) | (indices >= count)).ravel())
    if len(bad):
        value = np.ravel(indices)[bad[0]]
        raise ScanError(f'{path}, {place}: index {value} is out of range of {count} {what}.')


def parse_numbers(path, place, text, dtype):
    """Returns the numbers of a text, [N] of `dtype`.

    Args:
        path, place: of the text, for the message.
        text: bytes; numbers with blanks or line ends between them and nothing else.
        dtype: np.float64 or np.int64.

    Raises:
        ScanError: something in it is not such a number; the message names it.
    """
    text = text.strip()
    if not text:
        return np.zeros(0, dtype)
    try:
        numbers = _parse_strictly(text, dtype)
    except ValueError:
        word = _first_bad_word(text, dtype)
        shown = word[:_SHOWN].decode('ascii', 'replace')
        raise ScanError(f'{path}, {place}: {shown!r} is not a number of the kind needed.') from None
    if len(numbers) > MAX_CORNERS:
        raise ScanError(f'{path}, {place}: {len(numbers)} numbers; at most {MAX_CORNERS} are read.')
    return numbers


def _parse_strictly(text, dtype):
    """Returns the numbers; ValueError for anything else (C's parser would stop in a word)."""
    with warnings.catch_warnings():
        warnings.simplefilter('error', DeprecationWarning)  # NumPy 2.1 stops with a warning only.
        try:
            numbers = np.fromstring(text, dtype, sep=' ')
        except DeprecationWarning as error:
            raise ValueError(str(error)) from None
    if len(numbers) != count_words(text) or _HALF_NUMBER.search(text):
        raise ValueError('a word is no number, or two')
    if dtype == np.int64 and np.any(numbers == np.iinfo(np.int64).max):
        raise ValueError('an integer is too large')
    return numbers


def _first_bad_word(text, dtype):
    start = 0
    while start < len(text):
        space = _SPACE.search(text, start + _CHUNK)
        end = space.start() if space else len(text)
        chunk = text[start:end].strip()
        try:
            if chunk:
                _parse_strictly(chunk, dtype)
        except ValueError:
            return next((w for w in chunk.split() if not _is_number(w, dtype)), chunk)
        start = end
    return text


def _is_number(word, dtype):
    try:
        _parse_strictly(word, dtype)
    except ValueError:
        return False
    return True


def word_starts(text):
    """Returns the positions in `text` (bytes) at which a word begins, [W] int64."""
    blank = _IS_BLANK[np.frombuffer(text, np.uint8)]
    begins = ~blank
    begins[1:] &= blank[:-1]
    return np.flatnonzero(begins)


def count_words(text):
    """Returns how many words `text` (bytes) holds; leaner than to split it."""
    blank = _IS_BLANK[np.frombuffer(text, np.uint8)]
    return int(np.count_nonzero(blank[:-1] & ~blank[1:])) + int(len(blank) > 0 and not blank[0])


def triangulate(counts):
    """Returns the fan triangles of polygons that lie one after the other in a corner list.

    Args:
        counts: [P] int, corners of each polygon; those with fewer than three give none.

    Returns:
        [F, 3] int64 positions in the corner list, polygon by polygon.
    """
    counts = np.asarray(counts, np.int64)
    starts = np.cumsum(counts) - counts
    fans = np.maximum(counts - 2, 0)
    first = np.repeat(starts, fans)
    step = np.arange(fans.sum()) - np.repeat(np.cumsum(fans) - fans, fans)
    return np.stack([first, first + step + 1, first + step + 2], axis=1)


def polygon_notes(counts):
    """Returns the notes about polygons without a surface; counts: [P] corners of each."""
    flat = np.count_nonzero(np.asarray(counts) < 3)
    return (f'{flat} of {len(counts)} faces have fewer than three corners: left out',) * bool(flat)


def uv_per_vertex(num_vertices, corner_vertices, corner_uv):
    """Returns [V, 2] float32: for each vertex the uv of its first corner, zero without any."""
    uv = np.zeros((num_vertices, 2), np.float32)
    uv[corner_vertices[::-1]] = corner_uv[::-1]  # The last one written stays.
    return uv
