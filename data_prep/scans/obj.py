"""Wavefront OBJ scans: polygons of any size, v/vt/vn corners, negative indices."""

import os
import re

import numpy as np

from data_prep.scans import scan_checks
from data_prep.scans.scan import ScanError

_LINES = {
    name: re.compile(rb'^[ \t]*' + name + rb'(?:[ \t]+([^\n#]*)|(?=#|$))', re.MULTILINE)
    for name in (b'v', b'vt', b'f')
}
_LIBRARY = re.compile(rb'^[ \t]*mtllib[ \t]+([^\n]+)', re.MULTILINE)
_TEXTURE = re.compile(rb'^[ \t]*map_Kd[ \t]+([^\r\n]+)', re.MULTILINE)
_AFTER_VERTEX = re.compile(rb'/\S*')
_TEXTURED_CORNER = re.compile(rb'[^\s/]+/([^\s/]+)(?:/\S*)?')


def parse(path, data):
    """Returns the Scan of the OBJ text `data` (bytes); raises ScanError."""
    if b'\0' in data:
        raise ScanError(f'{path}: holds binary data; it is no OBJ file.')
    text = data.removeprefix(b'\xef\xbb\xbf').replace(b'\r\n', b'\n').replace(b'\r', b'\n')
    text = text.replace(b'\\\n', b' ')
    vertices = _points(path, text, b'v', 3)
    texture_points = _points(path, text, b'vt', 2)
    corners, texture_corners, counts = _corners(path, text)
    scan_checks.check_indices(path, 'lines f', corners, len(vertices), 'vertices')
    used = scan_checks.used_rows(len(vertices), corners)
    scan_checks.check_finite(path, 'lines v', vertices, used)
    uv = None
    if texture_corners is not None:
        scan_checks.check_indices(
            path, 'lines f', texture_corners, len(texture_points), 'texture coordinates'
        )
        uv = scan_checks.uv_per_vertex(len(vertices), corners, texture_points[texture_corners])
    triangles = corners[scan_checks.triangulate(counts)]
    notes = scan_checks.polygon_notes(counts)
    return scan_checks.make_scan(path, vertices, triangles, uv, _texture_name(path, text), notes)


def serialize(scan):
    """Returns `scan` as OBJ text (bytes); the texture's name is not kept."""
    corner, uv = '%d', ''
    corners = scan.triangles + 1
    if scan.uv is not None:
        corner, uv = '%d/%d', _rows('vt %.6f %.6f\n', scan.uv)
        corners = np.repeat(corners, 2, axis=1)
    faces = _rows(f'f {corner} {corner} {corner}\n', corners)
    return (_rows('v %.4f %.4f %.4f\n', scan.vertices) + uv + faces).encode()


def _rows(pattern, values):
    return (pattern * len(values)) % tuple(np.ravel(values).tolist())


def _lines(text, name):
    """Returns what stands behind `name` in each line that begins with it, one line each."""
    return b'\n'.join(match.group(1) or b'' for match in _LINES[name].finditer(text))


def _words_per_line(lines):
    starts = scan_checks.word_starts(lines)
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord('\n'))
    return np.diff(np.searchsorted(starts, [0, *ends, len(lines)]))


def _points(path, text, name, width):
    """Returns the first `width` numbers of each line (colours and weights may follow)."""
    lines, place = _lines(text, name), f'lines {name.decode()}'
    if not lines and not _LINES[name].search(text):
        return np.zeros((0, width))
    counts = _words_per_line(lines)
    short = np.flatnonzero(counts < width)
    if len(short):
        raise ScanError(f'{path}, {place}: row {short[0]} has fewer than {width} numbers.')
    values = scan_checks.parse_numbers(path, place, lines, np.float64)
    first = np.cumsum(counts) - counts
    return np.stack([values[first + i] for i in range(width)], axis=1)


def _corners(path, text):
    """Returns the vertex and the texture index of every corner, from 0, and corners per line.

    The texture indices are None where a corner has none.
    """
    lines = _lines(text, b'f')
    counts = _words_per_line(lines)
    vertices = _AFTER_VERTEX.sub(b'', lines) if b'/' in lines else lines
    if scan_checks.count_words(vertices) != counts.sum():
        raise ScanError(f'{path}, lines f: a corner has no vertex before its "/".')
    vertices = scan_checks.parse_numbers(path, 'lines f', vertices, np.int64)
    vertices = _absolute(path, text, b'v', vertices, counts)
    texture, found = _TEXTURED_CORNER.subn(rb'\1', lines)
    if not found or found != len(vertices):
        return vertices, None, counts
    texture = scan_checks.parse_numbers(path, 'lines f', texture, np.int64)
    return vertices, _absolute(path, text, b'vt', texture, counts), counts


def _absolute(path, text, name, indices, counts):
    """Returns indices from 0; a negative one counts back from what stands above its face."""
    if np.any(indices == 0):
        raise ScanError(f'{path}, lines f: index 0; indices of an OBJ file begin at 1.')
    if not np.any(indices < 0):
        return indices - 1
    above = np.repeat(np.searchsorted(_places(text, name), _places(text, b'f')), counts)
    return np.where(indices > 0, indices - 1, above + indices)


def _places(text, name):
    return np.fromiter((match.start() for match in _LINES[name].finditer(text)), np.int64)


def _texture_name(path, text):
    """Returns the first map_Kd of the material library beside the scan, or None."""
    library = _LIBRARY.search(text)
    name = library and scan_checks.local_name(library.group(1).strip().decode('utf-8', 'replace'))
    library_path = name and os.path.join(os.path.dirname(path), name)
    if not library_path or not os.path.isfile(library_path):
        return None  # Materials are often left behind; the surface is what counts.
    try:
        with open(library_path, 'rb') as file:
            match = _TEXTURE.search(file.read(1 << 20))
    except OSError:
        return None
    return match.group(1).strip().decode('utf-8', 'replace') if match else None
