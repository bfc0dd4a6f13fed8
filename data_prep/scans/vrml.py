"""VRML 2.0 (ISO/IEC 14772) scans: reads every IndexedFaceSet of a file, writes as BU-4DFE does.

The reader takes what scanners write: commas or none, comments, DEF and USE, exponents, any line
ends, a byte order mark, polygons of any size, Transforms, textures absent or named twice.
"""

import re
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from data_prep.scans import scan_checks
from data_prep.scans.scan import ScanError
from seqface_jax.geometry import vectors

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+'  # Up to its closing mark, or to the end where none comes.
_COMMENT = re.compile(rb'(' + _STRING + rb'"?)|#[^\n]*+', re.DOTALL)
# A list of numbers (nan and inf too) is one token: a whole scan has a few dozen tokens.
_TOKEN = re.compile(
    rb'(?P<numbers>\[[-+.0-9eEnNaAiIfF\s,]*+\])|(?P<string>'
    + _STRING
    + rb'")|(?P<mark>[\[\]{}])|(?P<number>[-+]?\.?[0-9][^\s,\[\]{}"]*+)'
    rb'|(?P<word>[^\s,\[\]{}"]++)|(?P<bad>' + _STRING + rb')',
    re.DOTALL,
)
_NO_COMMAS = bytes.maketrans(b',', b' ')
_MAX_DEPTH = 64
_MAX_TOKENS = 1_000_000
_MAX_WORK = 100_000_000  # Numbers read of one file: USE can repeat a part for ever.
# Geometry that a viewer shows, and this reader does not know (ISO/IEC 14772, 4.6.3).
_NOT_READ = ('Box', 'Cone', 'Cylinder', 'ElevationGrid', 'Extrusion', 'Inline', 'Sphere')
_WORK_OF_NODE, _WORK_OF_SURFACE = 1000, 20_000  # What takes as long as so many numbers.


def parse(path, data):
    """Returns the Scan of the VRML text `data` (bytes); raises ScanError."""
    text = data.removeprefix(b'\xef\xbb\xbf').replace(b'\r\n', b'\n').replace(b'\r', b'\n')
    start = text.lstrip()
    first_line = 1 + text.count(b'\n', 0, len(text) - len(start))
    if start[:10].upper() == b'#VRML V1.0':
        raise ScanError(f'{path}, line 1: VRML 1.0 is not read; convert the file to VRML 2.0.')
    if start[:10].upper() != b'#VRML V2.0':
        raise ScanError(f'{path}, line 1: does not begin with "#VRML V2.0"; it is no VRML file.')
    nodes = _Parser(path, start, first_line).parse_file()
    collector = _Collector(path)
    collector.collect(nodes, np.eye(4), None, 0)
    others = ', '.join(sorted(collector.not_read))
    if not collector.shapes:
        but = f', only {others}' if others else ''
        raise ScanError(f'{path}: holds no IndexedFaceSet{but}; give a scan with a surface.')
    notes = scan_checks.polygon_notes(np.concatenate(collector.polygons))
    notes += (f'of its geometry, {others} is not read: left out',) * bool(others)
    return _merge(path, collector.shapes, notes)


def serialize(scan):
    """Returns `scan` as VRML 2.0 text (bytes), laid out as in BU-4DFE."""
    corners = _rows('%d, %d, %d, -1,\n', scan.triangles)
    parts = ['#VRML V2.0 utf8\nShape {\n']
    if scan.texture is not None:
        url = scan.texture.replace('\\', '\\\\').replace('"', '\\"')
        parts.append(f'appearance Appearance {{\ntexture ImageTexture {{\nurl "{url}"\n}}\n}}\n')
    parts.append('geometry IndexedFaceSet {\nsolid FALSE\ncoord Coordinate {\npoint [\n')
    parts.append(_rows('%.4f %.4f %.4f,\n', scan.vertices))
    parts.append(']\n}\ncoordIndex [\n' + corners + ']\n')
    if scan.uv is not None:
        parts.append('texCoord TextureCoordinate {\npoint [\n')
        parts.append(_rows('%.6f %.6f,\n', scan.uv))
        parts.append(']\n}\ntexCoordIndex [\n' + corners + ']\n')
    parts.append('}\n}\n')
    return ''.join(parts).encode()


def _rows(pattern, values):
    return (pattern * len(values)) % tuple(np.ravel(values).tolist())


class _Numbers(NamedTuple):
    """A list of numbers, decoded when it is asked for; `text` has blanks between them."""

    line: int
    text: bytes


class _Node(NamedTuple):
    """fields: {name: list of _Node, _Numbers and str (strings and words)}."""

    kind: str
    fields: dict


class _Parser:
    """Turns the text into a tree, one token after the other."""

    def __init__(self, path, text, first_line):
        self._path = path
        self._text = _COMMENT.sub(rb'\1', text) if b'#' in text else text
        self._tokens = _TOKEN.finditer(self._text)
        self._count, self._position, self._line = 0, 0, first_line
        self._named = {}
        self._advance()

    def parse_file(self):
        nodes = []
        while self._kind is not None:
            if self._kind == 'word' and self._token in (b'PROTO', b'EXTERNPROTO'):
                raise self._error('prototypes (PROTO) are not read; export a plain surface')
            if self._skip_route():
                continue
            nodes.append(self._node(0))
        return nodes

    def _advance(self):
        """Goes to the next token; its kind is None behind the last."""
        match = next(self._tokens, None)
        end = len(self._text) if match is None else match.start()
        self._line += self._text.count(b'\n', self._position, end)
        self._position = end
        self._kind = None if match is None else match.lastgroup
        self._token = b'' if match is None else match.group()
        self._count += 1
        if self._count > _MAX_TOKENS:
            raise self._error('too many words for a scan; it is damaged')

    def _error(self, what):
        if self._kind is None:
            what = 'the file ends too early; it is cut off'
        elif self._kind == 'bad':
            what = 'a quotation mark is not closed'
        return ScanError(f'{self._path}, line {self._line}: {what}.')

    def _take(self, kind, what):
        if self._kind != kind:
            shown = self._token[:20].decode('ascii', 'replace')
            raise self._error(f'expected {what}, found {shown!r}')
        text = self._token
        self._advance()
        return text

    def _skip_route(self):
        """Goes past 'ROUTE a.b TO c.d'; returns whether it stood here."""
        if (self._kind, self._token) != ('word', b'ROUTE'):
            return False
        for _ in range(4):
            self._take('word', 'a ROUTE of four words')
        return True

    def _node(self, depth):
        if depth > _MAX_DEPTH:
            raise self._error(f'nodes are nested more than {_MAX_DEPTH} deep')
        line = self._line
        kind = self._take('word', 'the name of a node')
        if kind == b'USE':
            name = self._take('word', 'a name after USE')
            if name not in self._named:
                shown = name[:20].decode('ascii', 'replace')
                raise ScanError(f'{self._path}, line {line}: USE of {shown!r}, never DEFined.')
            return self._named[name]
        if kind == b'DEF':
            name = self._take('word', 'a name after DEF')
            self._named[name] = node = self._node(depth + 1)
            return node
        if self._kind != 'mark' or self._token != b'{':
            raise self._error('expected a "{"')
        self._advance()
        fields = {}
        while (self._kind, self._token) != ('mark', b'}'):
            if self._skip_route():
                continue
            field = self._take('word', 'the name of a field').decode('ascii', 'replace')
            fields[field] = self._field(depth + 1)
        self._advance()
        return _Node(kind.decode('ascii', 'replace'), fields)

    def _field(self, depth):
        if depth > _MAX_DEPTH:
            raise self._error(f'nodes are nested more than {_MAX_DEPTH} deep')
        kind, text, line = self._kind, self._token, self._line
        if kind == 'numbers':
            self._advance()
            return [_Numbers(line, text[1:-1].translate(_NO_COMMAS))]
        if kind == 'number':
            return [self._plain_numbers()]
        if kind == 'string':
            self._advance()
            return [_unquote(text)]
        if (kind, text) == ('mark', b'['):
            return self._list(depth)
        if kind == 'word' and text in (b'TRUE', b'FALSE', b'NULL'):
            self._advance()
            return [text.decode()]
        if kind == 'word':
            return [self._node(depth)]
        raise self._error('expected the value of a field')

    def _plain_numbers(self):
        line, tokens = self._line, []
        while self._kind == 'number':
            tokens.append(self._token)
            self._advance()
        return _Numbers(line, b' '.join(tokens))

    def _list(self, depth):
        self._advance()
        values = []
        while (self._kind, self._token) != ('mark', b']'):
            values += self._field(depth + 1)
        self._advance()
        return values


def _unquote(text):
    return re.sub(rb'\\(.)', rb'\1', text[1:-1], flags=re.DOTALL).decode('utf-8', 'replace')


class _Collector:
    """Walks the tree.

    Attributes:
        shapes: list of (vertices, triangles, uv, texture) of every surface.
        polygons: list of the corner counts of every surface's polygons.
        not_read: set of str, the kinds of other geometry.
    """

    def __init__(self, path):
        self.shapes, self.polygons, self.not_read = [], [], set()
        self._path = path
        self._work = 0

    def collect(self, nodes, transform, texture, depth):
        """Takes the surfaces of `nodes` and below, moved by `transform` [4, 4]."""
        if depth > _MAX_DEPTH:
            raise ScanError(f'{self._path}: nodes are nested more than {_MAX_DEPTH} deep.')
        for node in nodes:
            if not isinstance(node, _Node):
                continue
            self._count(_WORK_OF_NODE)
            if node.kind in _NOT_READ:
                self.not_read.add(node.kind)
            if node.kind == 'IndexedFaceSet':
                self._count(_WORK_OF_SURFACE)
                self.shapes.append((*self._face_set(node, transform), texture))
                continue
            inner = transform @ self._matrix(node) if node.kind == 'Transform' else transform
            image = _texture_name(node.fields.get('appearance', [])) or texture
            for name, values in node.fields.items():
                if name != 'appearance':
                    self.collect(self._shown(node, name, values), inner, image, depth + 1)

    def _shown(self, node, name, values):
        """Returns those of a field's nodes that a viewer shows."""
        if node.kind == 'LOD' and name == 'level':
            return values[:1]  # The finest.
        if node.kind == 'Switch' and name == 'choice':
            which = self._numbers(node, 'whichChoice', np.int64)
            return values[which[0] :][:1] if len(which) and which[0] >= 0 else []
        return values

    def _count(self, work):
        self._work += work
        if self._work > _MAX_WORK:
            raise ScanError(f'{self._path}: USE repeats its parts too often; it is no scan.')

    def _matrix(self, node):
        """Returns the 4 x 4 matrix of a Transform (ISO/IEC 14772, 6.52)."""

        def field(name, default):
            values = self._numbers(node, name, np.float64)
            if len(values) not in (0, len(default)):
                raise ScanError(
                    f'{self._path}, {name} of a Transform: {len(values)} numbers, '
                    f'not {len(default)}.'
                )
            return values if len(values) else np.array(default, float)

        turn = _rotation(field('rotation', (0, 0, 1, 0)))
        axes = _rotation(field('scaleOrientation', (0, 0, 1, 0)))
        linear = turn @ (axes * field('scale', (1, 1, 1))) @ axes.T
        center, matrix = field('center', (0, 0, 0)), np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = field('translation', (0, 0, 0)) + center - linear @ center
        scan_checks.check_finite(self._path, 'a Transform', matrix)
        return matrix

    def _numbers(self, node, name, dtype):
        """Returns the numbers of a field, [] where the node has none."""
        values = node.fields.get(name, [])
        if not all(isinstance(value, _Numbers) for value in values):
            raise ScanError(f'{self._path}, list {name}: holds something that is not a number.')
        if not values:
            return np.zeros(0, dtype)
        text = values[0].text if len(values) == 1 else b' '.join(value.text for value in values)
        place = f'list {name} (line {values[0].line})'
        numbers = scan_checks.parse_numbers(self._path, place, text, dtype)
        self._count(len(numbers))
        return numbers

    def _points(self, node, field, width):
        """Returns the rows of the Coordinate or TextureCoordinate in `field`, or None."""
        inner = (node.fields.get(field) or [None])[0]
        if not isinstance(inner, _Node):
            return None
        values = self._numbers(inner, 'point', np.float64)
        if len(values) % width:
            raise ScanError(
                f'{self._path}, list point of {field}: {len(values)} numbers are no multiple of '
                f'{width}.'
            )
        return values.reshape(-1, width)

    def _corners(self, node, name):
        """Returns the corner indices of an index list without its -1, and corners per polygon."""
        values = self._numbers(node, name, np.int64)
        if len(values) and values[-1] != -1:
            values = np.append(values, -1)  # The last terminator may be left out.
        ends = np.flatnonzero(values == -1)
        return values[values != -1], np.diff(ends, prepend=-1) - 1

    def _face_set(self, node, transform):
        """Returns vertices [V, 3], triangles [F, 3] and uv [V, 2] or None of one node."""
        vertices = self._points(node, 'coord', 3)
        if vertices is None:
            raise ScanError(
                f'{self._path}: an IndexedFaceSet has no coord; the file may be cut off.'
            )
        corners, counts = self._corners(node, 'coordIndex')
        scan_checks.check_indices(self._path, 'list coordIndex', corners, len(vertices), 'points')
        used = scan_checks.used_rows(len(vertices), corners)
        scan_checks.check_finite(self._path, 'list point of coord', vertices, used)
        self.polygons.append(counts)
        triangles = corners[scan_checks.triangulate(counts)]
        if node.fields.get('ccw') == ['FALSE']:
            triangles = triangles[:, ::-1]
        uv, texture_points = None, self._points(node, 'texCoord', 2)
        if texture_points is not None:
            texture_corners, texture_counts = self._corners(node, 'texCoordIndex')
            if len(texture_corners) == 0:
                texture_corners, texture_counts = corners, counts
            if not np.array_equal(counts, texture_counts):
                raise ScanError(
                    f'{self._path}, list texCoordIndex: its polygons differ from coordIndex.'
                )
            scan_checks.check_indices(
                self._path,
                'list texCoordIndex',
                texture_corners,
                len(texture_points),
                'texture points',
            )
            uv = scan_checks.uv_per_vertex(len(vertices), corners, texture_points[texture_corners])
            unindexed = np.array_equal(texture_corners, corners)
            if unindexed and len(texture_points) == len(vertices):
                uv = texture_points
        with np.errstate(invalid='ignore'):  # Vertices that are not finite stay so.
            return vertices @ transform[:3, :3].T + transform[:3, 3], triangles, uv


def _texture_name(appearance):
    """Returns the first url of the ImageTexture of an Appearance, or None."""
    for node in appearance:
        texture = node.fields.get('texture', []) if isinstance(node, _Node) else []
        for image in texture:
            urls = image.fields.get('url', []) if isinstance(image, _Node) else []
            if urls and isinstance(urls[0], str):
                return urls[0]
    return None


def _rotation(axis_angle):
    """Returns the 3 x 3 matrix of (x, y, z, angle in radians)."""
    axis, angle = vectors.unit(np.float64(axis_angle[:3])), axis_angle[3]
    return Rotation.from_rotvec(angle * axis).as_matrix()


def _merge(path, shapes, notes):
    offset, vertices, triangles, uv = 0, [], [], []
    has_uv = any(shape[2] is not None for shape in shapes)
    for points, faces, coordinates, _ in shapes:
        vertices.append(points)
        triangles.append(faces + offset)
        uv.append(np.zeros((len(points), 2)) if coordinates is None else coordinates)
        offset += len(points)
    texture = next((shape[3] for shape in shapes if shape[3] is not None), None)
    return scan_checks.make_scan(
        path,
        np.concatenate(vertices),
        np.concatenate(triangles),
        np.concatenate(uv) if has_uv else None,
        texture,
        notes,
    )
