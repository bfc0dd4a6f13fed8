"""Wavefront OBJ scans: polygons of any size, v/vt/vn corners, negative indices."""

import os
import re

import numpy as np

from data_prep import scan as scan_lib
from data_prep.scan import ScanError


def parse(path, data):
    """Returns the Scan of the OBJ text `data` (bytes); raises ScanError."""
    if b'\0' in data:
        raise ScanError(f'{path}: holds binary data; it is no OBJ file.')
    rows = {b'v': [], b'vt': [], b'f': []}
    before = []  # Vertices and texture coordinates that stand above each face.
    library = None
    text = data.removeprefix(b'\xef\xbb\xbf').replace(b'\\\r\n', b' ').replace(b'\\\n', b' ')
    for line in text.splitlines():
        tokens = line.partition(b'#')[0].split()
        if not tokens:
            continue
        if tokens[0] in rows:
            rows[tokens[0]].append(tokens[1:])
            if tokens[0] == b'f':
                before.append((len(rows[b'v']), len(rows[b'vt'])))
        elif tokens[0] == b'mtllib':
            library = line.split(maxsplit=1)[1].strip().decode('utf-8', 'replace')
    vertices = _points(path, 'v', rows[b'v'], 3)
    texture_points = _points(path, 'vt', rows[b'vt'], 2)
    counts = np.array([len(row) for row in rows[b'f']], np.int64)
    corners, texture_corners = _corners(path, rows[b'f'], counts, np.array(before).reshape(-1, 2))
    scan_lib.check_indices(path, 'lines f', corners, len(vertices), 'vertices')
    uv = None
    if texture_corners is not None:
        scan_lib.check_indices(
            path, 'lines f', texture_corners, len(texture_points), 'texture coordinates'
        )
        uv = scan_lib.uv_per_vertex(len(vertices), corners, texture_points[texture_corners])
    triangles = corners[scan_lib.triangulate(counts)]
    return scan_lib.make_scan(path, vertices, triangles, uv, _texture_name(path, library))


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


def _points(path, name, rows, width):
    """Returns the first `width` numbers of each row (colours and weights may follow)."""
    short = next((i for i, row in enumerate(rows) if len(row) < width), None)
    if short is not None:
        raise ScanError(f'{path}, lines {name}: row {short} has fewer than {width} numbers.')
    tokens = [token for row in rows for token in row[:width]]
    values = scan_lib.parse_numbers(path, f'lines {name}', tokens, np.float64)
    scan_lib.check_finite(path, f'lines {name}', values.reshape(-1, width))
    return values.reshape(-1, width)


def _corners(path, rows, counts, before):
    """Returns the vertex and the texture index of every corner, from 0; the latter or None."""
    parts = [token.split(b'/') for row in rows for token in row]
    vertices = scan_lib.parse_numbers(path, 'lines f', [part[0] for part in parts], np.int64)
    vertices = _absolute(path, vertices, np.repeat(before[:, 0], counts))
    if not parts or not all(len(part) > 1 and part[1] for part in parts):
        return vertices, None
    texture = scan_lib.parse_numbers(path, 'lines f', [part[1] for part in parts], np.int64)
    return vertices, _absolute(path, texture, np.repeat(before[:, 1], counts))


def _absolute(path, indices, above):
    if np.any(indices == 0):
        raise ScanError(f'{path}, lines f: index 0; indices of an OBJ file begin at 1.')
    return np.where(indices > 0, indices - 1, above + indices)


def _texture_name(path, library):
    """Returns the first map_Kd of the material library beside the scan, or None."""
    if library is None:
        return None
    try:
        with open(os.path.join(os.path.dirname(path), library), 'rb') as file:
            match = re.search(rb'^\s*map_Kd\s+([^\r\n]+)', file.read(1 << 20), re.MULTILINE)
    except (OSError, ValueError):
        return None  # Materials are often left behind; the surface is what counts.
    return match.group(1).strip().decode('utf-8', 'replace') if match else None
