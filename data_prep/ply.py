"""PLY scans, ascii and binary of both byte orders: vertices, faces of any size, uv."""

import re

import numpy as np

from data_prep import scan as scan_lib
from data_prep.scan import ScanError

_TYPES = {
    **dict.fromkeys(('char', 'int8'), 'i1'),
    **dict.fromkeys(('uchar', 'uint8'), 'u1'),
    **dict.fromkeys(('short', 'int16'), 'i2'),
    **dict.fromkeys(('ushort', 'uint16'), 'u2'),
    **dict.fromkeys(('int', 'int32'), 'i4'),
    **dict.fromkeys(('uint', 'uint32'), 'u4'),
    **dict.fromkeys(('float', 'float32'), 'f4'),
    **dict.fromkeys(('double', 'float64'), 'f8'),
}
_ORDERS = {'ascii': None, 'binary_little_endian': '<', 'binary_big_endian': '>'}
_UV_NAMES = (('s', 't'), ('u', 'v'), ('texture_u', 'texture_v'))
_HEADER_BYTES = 1 << 16


def parse(path, data):
    """Returns the Scan of the PLY file content `data` (bytes); raises ScanError."""
    data = data.removeprefix(b'\xef\xbb\xbf')
    order, elements, texture, body = _header(path, data)
    reader = _AsciiBody(path, body) if order is None else _BinaryBody(path, body, order)
    columns = {name: reader.element(name, count, props) for name, count, props in elements}
    vertex, face = columns.get('vertex', {}), columns.get('face', {})
    if not all(axis in vertex for axis in 'xyz'):
        raise ScanError(f'{path}, header: vertices without x, y and z; it is no scan.')
    vertices = np.stack([vertex[axis] for axis in 'xyz'], axis=1).astype(np.float64)
    indices = face.get('vertex_indices', face.get('vertex_index'))
    if not isinstance(indices, tuple):
        raise ScanError(f'{path}, header: no faces (vertex_indices); give a surface.')
    corners, counts = indices[0].astype(np.int64), indices[1]
    scan_lib.check_finite(path, 'element vertex', vertices)
    scan_lib.check_indices(path, 'element face', corners, len(vertices), 'vertices')
    triangles = corners[scan_lib.triangulate(counts)]
    uv = _uv(vertex, face, len(vertices), corners, counts)
    return scan_lib.make_scan(path, vertices, triangles, uv, texture)


def serialize(scan):
    """Returns `scan` as a binary little endian PLY file (bytes)."""
    lines = ['ply', 'format binary_little_endian 1.0']
    if scan.texture is not None:
        lines.append(f'comment TextureFile {scan.texture}')
    names = ['x', 'y', 'z'] + ([] if scan.uv is None else ['s', 't'])
    lines.append(f'element vertex {len(scan.vertices)}')
    lines += [f'property float {name}' for name in names]
    lines.append(f'element face {len(scan.triangles)}')
    lines += ['property list uchar int vertex_indices', 'end_header\n']
    points = scan.vertices if scan.uv is None else np.hstack([scan.vertices, scan.uv])
    faces = np.empty(len(scan.triangles), [('count', 'u1'), ('corners', '<i4', (3,))])
    faces['count'], faces['corners'] = 3, scan.triangles
    return '\n'.join(lines).encode() + points.astype('<f4').tobytes() + faces.tobytes()


def _header(path, data):
    """Returns byte order, [(element, count, [(name, count type, type)])], texture, body."""
    match = re.match(rb'ply[ \t]*\r?\n(.*?)end_header[ \t]*(\r\n|\n)', data[:_HEADER_BYTES], re.S)
    if match is None:
        raise ScanError(f'{path}, line 1: no PLY header from "ply" to "end_header".')
    order, elements, texture = '', [], None
    for number, line in enumerate(match.group(1).decode('utf-8', 'replace').splitlines(), 2):
        words = line.split()
        try:
            if not words or words[0] == 'obj_info':
                continue
            if words[0] == 'comment':
                if words[1:2] == ['TextureFile']:
                    texture = line.split(maxsplit=2)[2].strip()
            elif words[0] == 'format':
                order = _ORDERS[words[1]]
            elif words[0] == 'element':
                elements.append((words[1], int(words[2]), []))
                if not 0 <= elements[-1][1] <= 2 * scan_lib.MAX_VERTICES:
                    raise ValueError(words[2])
            else:
                elements[-1][2].append(_property(words))
        except (KeyError, IndexError, ValueError):
            raise ScanError(f'{path}, line {number}: {line.strip()!r} is not readable.') from None
    if order == '':
        raise ScanError(f'{path}, header: the format line is missing.')
    return order, elements, texture, data[match.end() :]


def _property(words):
    """Returns (name, type of the list's length or None, type) of a property line."""
    if words[0] != 'property':
        raise ValueError(words[0])
    if words[1] == 'list':
        return words[4], _TYPES[words[2]], _TYPES[words[3]]
    return words[2], None, _TYPES[words[1]]


def _uv(vertex, face, num_vertices, corners, counts):
    """Returns [V, 2] from the vertices, or from the faces' texcoord lists, or None."""
    for u, v in _UV_NAMES:
        if u in vertex and v in vertex:
            return np.stack([vertex[u], vertex[v]], axis=1).astype(np.float64)
    values, lengths = face.get('texcoord', (None, None))
    if values is None or not np.array_equal(lengths, 2 * counts):
        return None
    return scan_lib.uv_per_vertex(num_vertices, corners, values.reshape(-1, 2))


class _BinaryBody:
    """Reads one element after the other from the bytes behind the header."""

    def __init__(self, path, body, order):
        self._path, self._body, self._order, self._position = path, body, order, 0

    def element(self, name, count, properties):
        """Returns {property: [count] values, or for a list (all values, [count] lengths)}."""
        columns = self._uniform(name, count, properties)
        return columns if columns is not None else self._ragged(name, count, properties)

    def _uniform(self, name, count, properties):
        """Reads all rows at once, as they are when every list is as long as in the first row."""
        lengths, position = {}, self._position
        for key, length_type, value_type in properties if count else ():
            if length_type is not None:
                lengths[key] = int(self._read(name, position, length_type, 1)[0])
                position += np.dtype(length_type).itemsize
                if not 0 <= lengths[key] <= scan_lib.MAX_CORNERS:
                    raise ScanError(f'{self._path}, element {name}: a list of {lengths[key]}.')
            position += np.dtype(value_type).itemsize * lengths.get(key, 1)
        fields = []
        for i, (key, length_type, value_type) in enumerate(properties):
            if length_type is None:
                fields.append((f'{i}', self._order + value_type))
            else:
                fields.append((f'length {i}', self._order + length_type))
                fields.append((f'{i}', self._order + value_type, (lengths.get(key, 0),)))
        row = np.dtype(fields)
        if self._position + row.itemsize * count > len(self._body):
            if lengths:
                return None  # Perhaps the first list is the longest.
            raise self._cut_off(name)
        rows = np.frombuffer(self._body, row, count, self._position)
        columns = {}
        for i, (key, length_type, _) in enumerate(properties):
            columns[key] = rows[f'{i}']
            if length_type is not None:
                if np.any(rows[f'length {i}'] != lengths.get(key, 0)):
                    return None
                columns[key] = (rows[f'{i}'].ravel(), np.full(count, lengths.get(key, 0)))
        self._position += row.itemsize * count
        return columns

    def _ragged(self, name, count, properties):
        """Reads row by row."""
        values = {key: [] for key, _, _ in properties}
        for _ in range(count):
            for key, length_type, value_type in properties:
                length = 1
                if length_type is not None:
                    length = int(self._read(name, self._position, length_type, 1)[0])
                    self._position += np.dtype(length_type).itemsize
                chunk = self._read(name, self._position, value_type, length)
                self._position += chunk.nbytes
                values[key].append(chunk)
        return _join(values, properties)

    def _read(self, name, position, kind, count):
        size = np.dtype(kind).itemsize * count
        if count < 0 or position + size > len(self._body):
            raise self._cut_off(name)
        return np.frombuffer(self._body, self._order + kind, count, position)

    def _cut_off(self, name):
        return ScanError(f'{self._path}, element {name}: the file ends too early; it is cut off.')


class _AsciiBody:
    """As _BinaryBody, from the words behind the header."""

    def __init__(self, path, body):
        self._path, self._position = path, 0
        self._values = scan_lib.parse_numbers(path, 'body', body.split(), np.float64)

    def element(self, name, count, properties):
        values = {key: [] for key, _, _ in properties}
        if all(length_type is None for _, length_type, _ in properties):
            rows = self._take(name, count * len(properties)).reshape(count, len(properties))
            return {key: rows[:, i] for i, (key, _, _) in enumerate(properties)}
        for _ in range(count):
            for key, length_type, _ in properties:
                length = 1 if length_type is None else int(self._take(name, 1)[0])
                values[key].append(self._take(name, length))
        return _join(values, properties)

    def _take(self, name, count):
        taken = self._values[self._position : self._position + count]
        if count < 0 or len(taken) < count:
            raise ScanError(
                f'{self._path}, element {name}: the file ends too early; it is cut off.'
            )
        self._position += count
        return taken


def _join(values, properties):
    """Returns the columns of rows read one at a time."""
    columns = {}
    for key, length_type, value_type in properties:
        joined = np.concatenate(values[key]) if values[key] else np.zeros(0, value_type)
        lengths = np.array([len(chunk) for chunk in values[key]], np.int64)
        columns[key] = joined if length_type is None else (joined, lengths)
    return columns
