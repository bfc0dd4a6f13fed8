"""PLY scans, ascii and binary of both byte orders: vertices, faces of any size, uv."""

import array
import re

import numpy as np

from data_prep.scans import scan_checks
from data_prep.scans.scan import ScanError

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
    if not _are_numbers(vertex, 'xyz'):
        raise ScanError(f'{path}, header: vertices without x, y and z; it is no scan.')
    vertices = np.stack([vertex[axis] for axis in 'xyz'], axis=1).astype(np.float64)
    indices = face.get('vertex_indices', face.get('vertex_index'))
    if not isinstance(indices, tuple):
        raise ScanError(f'{path}, header: no faces (vertex_indices); give a surface.')
    corners, counts = _whole_numbers(path, 'element face', indices[0]), indices[1]
    scan_checks.check_indices(path, 'element face', corners, len(vertices), 'vertices')
    used = scan_checks.used_rows(len(vertices), corners)
    scan_checks.check_finite(path, 'element vertex', vertices, used)
    triangles = corners[scan_checks.triangulate(counts)]
    uv = _uv(vertex, face, len(vertices), corners, counts)
    notes = scan_checks.polygon_notes(counts)
    return scan_checks.make_scan(path, vertices, triangles, uv, texture, notes)


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
                if words[1:2] == ['TextureFile'] and words[2:]:
                    texture = line.split(maxsplit=2)[2].strip()
            elif words[0] == 'format':
                order = _ORDERS[words[1]]
            elif words[0] == 'element':
                elements.append((words[1], int(words[2]), []))
                if not 0 <= elements[-1][1] <= 2 * scan_checks.MAX_VERTICES:
                    raise ValueError(words[2])
            else:
                elements[-1][2].append(_property(words))
        except (KeyError, IndexError, ValueError):
            raise ScanError(f'{path}, line {number}: {line.strip()!r} is not readable.') from None
    if order == '':
        raise ScanError(f'{path}, header: the format line is missing.')
    for names in ([e[0] for e in elements], *([p[0] for p in e[2]] for e in elements)):
        if len(names) != len(set(names)):
            raise ScanError(f'{path}, header: a name stands there twice.')
    return order, elements, texture, data[match.end() :]


def _property(words):
    """Returns (name, type of the list's length or None, type) of a property line."""
    if words[0] != 'property':
        raise ValueError(words[0])
    if words[1] == 'list':
        if _TYPES[words[2]] in ('f4', 'f8'):
            raise ValueError(words[2])
        return words[4], _TYPES[words[2]], _TYPES[words[3]]
    return words[2], None, _TYPES[words[1]]


def _are_numbers(columns, names):
    """Returns whether the element has all these properties, none of them a list."""
    return all(isinstance(columns.get(name), np.ndarray) for name in names)


def _whole_numbers(path, place, values):
    if values.dtype.kind in 'iu':
        return values.astype(np.int64)
    scan_checks.check_finite(path, place, values[:, None])
    if np.any(values % 1) or np.any(np.abs(values) > 2**53):
        raise ScanError(f'{path}, {place}: holds an index that is not a whole number.')
    return values.astype(np.int64)


def _uv(vertex, face, num_vertices, corners, counts):
    """Returns [V, 2] from the vertices, or from the faces' texcoord lists, or None."""
    for names in _UV_NAMES:
        if _are_numbers(vertex, names):
            return np.stack([vertex[name] for name in names], axis=1).astype(np.float64)
    texcoord = face.get('texcoord')
    if not isinstance(texcoord, tuple) or not np.array_equal(texcoord[1], 2 * counts):
        return None
    return scan_checks.uv_per_vertex(num_vertices, corners, texcoord[0].reshape(-1, 2))


class _BinaryBody:
    """Reads one element after the other from the bytes behind the header."""

    def __init__(self, path, body, order):
        self._path, self._body, self._order, self._position = path, body, order, 0

    def element(self, name, count, properties):
        """Returns {property: [count] values, or for a list (all values, [count] lengths)}."""
        if not properties or not count:
            return _without_rows(properties)
        columns = self._uniform(name, count, properties)
        return columns if columns is not None else self._ragged(name, count, properties)

    def _uniform(self, name, count, properties):
        """Reads all rows at once, as they are when every list is as long as in the first row."""
        lengths, position = {}, self._position
        for key, length_type, value_type in properties:
            if length_type is not None:
                lengths[key] = self._length(name, position, length_type)
                position += np.dtype(length_type).itemsize
            position += np.dtype(value_type).itemsize * lengths.get(key, 1)
            if position > len(self._body):
                raise self._cut_off(name)
        fields = []
        for i, (key, length_type, value_type) in enumerate(properties):
            if length_type is None:
                fields.append((f'{i}', self._order + value_type))
            else:
                fields.append((f'length {i}', self._order + length_type))
                fields.append((f'{i}', self._order + value_type, (lengths[key],)))
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
                if np.any(rows[f'length {i}'] != lengths[key]):
                    return None
                columns[key] = (rows[f'{i}'].ravel(), np.full(count, lengths[key]))
        self._position += row.itemsize * count
        return columns

    def _ragged(self, name, count, properties):
        """Finds the place of every list row by row, then gathers all of them."""
        starts = [array.array('q') for _ in properties]
        lengths = [array.array('q') for _ in properties]
        sizes = [
            (length and np.dtype(length).itemsize, np.dtype(value).itemsize)
            for _, length, value in properties
        ]
        position = self._position
        for _ in range(count):
            for i, (_, length_type, _) in enumerate(properties):
                length = 1
                if length_type is not None:
                    length = self._length(name, position, length_type)
                    position += sizes[i][0]
                    lengths[i].append(length)
                starts[i].append(position)
                position += sizes[i][1] * length
            if position > len(self._body):
                raise self._cut_off(name)
        self._position = position
        return {
            key: _column(
                self._gather(value_type, np.array(starts[i]), lengths[i] or np.ones(count, int)),
                length_type and np.array(lengths[i]),
            )
            for i, (key, length_type, value_type) in enumerate(properties)
        }

    def _gather(self, value_type, starts, lengths):
        size = np.dtype(value_type).itemsize
        places = _ranges(starts, np.asarray(lengths), size)
        content = np.frombuffer(self._body, np.uint8)
        picked = np.stack([content[places + i] for i in range(size)], axis=1)
        return picked.view(self._order + value_type).ravel()

    def _length(self, name, position, length_type):
        """Returns the length of the list at a position."""
        size = np.dtype(length_type).itemsize
        if position + size > len(self._body):
            raise self._cut_off(name)
        length = int.from_bytes(
            self._body[position : position + size],
            'big' if self._order == '>' else 'little',
            signed=length_type[0] == 'i',
        )
        if length < 0:
            raise ScanError(f'{self._path}, element {name}: a list of length {length}.')
        return length

    def _cut_off(self, name):
        return ScanError(f'{self._path}, element {name}: the file ends too early; it is cut off.')


class _AsciiBody:
    """As _BinaryBody, from the words behind the header."""

    def __init__(self, path, body):
        self._path, self._position = path, 0
        self._values = scan_checks.parse_numbers(path, 'body', body, np.float64)

    def element(self, name, count, properties):
        """Returns {property: [count] values, or for a list (all values, [count] lengths)}."""
        if not properties or not count:
            return _without_rows(properties)
        if all(length_type is None for _, length_type, _ in properties):
            return self._table(name, count, [key for key, _, _ in properties])
        starts = [array.array('q') for _ in properties]
        lengths = [array.array('q') for _ in properties]
        position = self._position
        for _ in range(count):
            for i, (_, length_type, _) in enumerate(properties):
                length = 1
                if length_type is not None:
                    length = self._length(name, position)
                    position += 1
                    lengths[i].append(length)
                starts[i].append(position)
                position += length
            if position > len(self._values):
                raise self._cut_off(name)
        self._position = position
        columns = {}
        for i, (key, length_type, _) in enumerate(properties):
            if length_type is None:
                columns[key] = self._values[np.array(starts[i])]
            else:
                places = _ranges(np.array(starts[i]), np.array(lengths[i]), 1)
                columns[key] = _column(self._values[places], np.array(lengths[i]))
        return columns

    def _table(self, name, count, keys):
        end = self._position + count * len(keys)
        if end > len(self._values):
            raise self._cut_off(name)
        rows = self._values[self._position : end].reshape(count, -1)
        self._position = end
        return {key: rows[:, i] for i, key in enumerate(keys)}

    def _length(self, name, position):
        if position >= len(self._values):
            raise self._cut_off(name)
        length = self._values.item(position)
        if length > len(self._values):
            raise self._cut_off(name)
        if not (length >= 0 and length == int(length)):
            raise ScanError(f'{self._path}, element {name}: a list of length {length:g}.')
        return int(length)

    def _cut_off(self, name):
        return ScanError(f'{self._path}, element {name}: the file ends too early; it is cut off.')


def _without_rows(properties):
    """Returns the columns of an element of no rows, or without properties."""
    empty = np.zeros(0, np.int64)
    return {key: (empty, empty) if length else empty for key, length, _ in properties}


def _column(values, lengths):
    return values if lengths is None else (values, lengths)


def _ranges(starts, lengths, step):
    """Returns start, start + step, ... of each list, `lengths` of them, one list after another."""
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    return np.repeat(starts, lengths) + step * within
