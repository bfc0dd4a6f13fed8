"""VRML 2.0 (ISO/IEC 14772) scans: reads every IndexedFaceSet of a file, writes as BU-4DFE does.

The reader takes what scanners write: commas or none, comments, DEF and USE, exponents, any line
ends, a byte order mark, polygons of any size, Transforms, textures absent or named twice.
"""

import re

import numpy as np

from data_prep import scan as scan_lib
from data_prep.scan import ScanError

_COMMENT = re.compile(rb'"(?:[^"\\]|\\.)*"|#[^\r\n]*', re.DOTALL)
# A list of numbers (nan and inf too) is one token: a whole scan has a few dozen tokens.
_TOKEN = re.compile(
    rb'(?P<numbers>\[[-+.0-9eEnNaAiIfF\s,]*\])|(?P<string>"(?:[^"\\]|\\.)*")|(?P<mark>[\[\]{}])'
    rb'|(?P<number>[-+]?\.?[0-9][^\s,\[\]{}"]*)|(?P<word>[^\s,\[\]{}"]+)|(?P<bad>")',
    re.DOTALL,
)
_MAX_DEPTH = 64
_MAX_TOKENS = 2_000_000


def parse(path, data):
    """Returns the Scan of the VRML text `data` (bytes); raises ScanError."""
    text = data.removeprefix(b'\xef\xbb\xbf').lstrip()
    if text[:10].upper() == b'#VRML V1.0':
        raise ScanError(f'{path}, line 1: VRML 1.0 is not read; convert the file to VRML 2.0.')
    if text[:10].upper() != b'#VRML V2.0':
        raise ScanError(f'{path}, line 1: does not begin with "#VRML V2.0"; it is no VRML file.')
    nodes = _Parser(path, data[: len(data) - len(text)], text).parse_file()
    shapes = []
    _collect_shapes(path, nodes, np.eye(4), None, shapes)
    if not shapes:
        raise ScanError(f'{path}: holds no IndexedFaceSet; give a scan with a surface.')
    return _merge(path, shapes)


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


class _Numbers:
    """A list of numbers, decoded when it is asked for."""

    def __init__(self, line, tokens):
        self.line, self.tokens = line, tokens


class _Parser:
    """Turns the text into a tree: a node is {'type': name, field: values}.

    A field's values are a list of nodes, strings, words and _Numbers.
    """

    def __init__(self, path, before, text):
        self._path = path
        self._first_line = 1 + before.count(b'\n')
        self._text = _COMMENT.sub(_blank_comment, text)
        self._tokens = self._tokenize()
        self._next = 0
        self._named = {}

    def parse_file(self):
        nodes = []
        while self._next < len(self._tokens):
            kind, text, _ = self._tokens[self._next]
            if kind == 'word' and text in (b'PROTO', b'EXTERNPROTO'):
                raise self._error('prototypes (PROTO) are not read; export a plain surface')
            if kind == 'word' and text == b'ROUTE':
                self._next += 4  # ROUTE a.b TO c.d
                continue
            nodes.append(self._node(0))
        return nodes

    def _tokenize(self):
        tokens = []
        for match in _TOKEN.finditer(self._text):
            tokens.append((match.lastgroup, match.group(), match.start()))
            if len(tokens) > _MAX_TOKENS:
                raise ScanError(f'{self._path}: too many words for a scan; it is damaged.')
        return tokens

    def _line(self, position):
        return self._first_line + self._text.count(b'\n', 0, position)

    def _error(self, what):
        if self._next >= len(self._tokens):
            lines = self._line(len(self._text))
            return ScanError(f'{self._path}, line {lines}: the file ends too early; it is cut off.')
        line = self._line(self._tokens[self._next][2])
        return ScanError(f'{self._path}, line {line}: {what}.')

    def _peek(self):
        if self._next >= len(self._tokens):
            raise self._error('')
        kind, text, _ = self._tokens[self._next]
        return kind, text

    def _take(self, kind, what):
        found, text = self._peek()
        if found != kind:
            shown = text[:20].decode('ascii', 'replace')
            raise self._error(f'expected {what}, found {shown!r}')
        self._next += 1
        return text

    def _node(self, depth):
        if depth > _MAX_DEPTH:
            raise self._error(f'nodes are nested more than {_MAX_DEPTH} deep')
        kind = self._take('word', 'the name of a node')
        if kind == b'USE':
            name = self._take('word', 'a name after USE')
            if name not in self._named:
                self._next -= 1
                raise self._error(f'USE of {name.decode("ascii", "replace")!r}, never DEFined')
            return self._named[name]
        if kind == b'DEF':
            name = self._take('word', 'a name after DEF')
            self._named[name] = node = self._node(depth)
            return node
        if self._take('mark', 'a "{"') != b'{':
            self._next -= 1
            raise self._error('expected a "{"')
        node = {'type': kind.decode('ascii', 'replace')}
        while self._peek() != ('mark', b'}'):
            if self._peek() == ('word', b'ROUTE'):
                self._next += 4
                continue
            field = self._take('word', 'the name of a field').decode('ascii', 'replace')
            node[field] = self._field(depth + 1)
        self._next += 1
        return node

    def _field(self, depth):
        kind, text = self._peek()
        if kind == 'numbers':
            line = self._line(self._tokens[self._next][2])
            self._next += 1
            return [_Numbers(line, text[1:-1].replace(b',', b' ').split())]
        if kind == 'number':
            return [self._plain_numbers()]
        if kind == 'string':
            self._next += 1
            return [_unquote(text)]
        if (kind, text) == ('mark', b'['):
            return self._list(depth)
        if text in (b'TRUE', b'FALSE', b'NULL'):
            self._next += 1
            return [text.decode()]
        if kind == 'word':
            return [self._node(depth)]
        raise self._error('expected the value of a field')

    def _plain_numbers(self):
        line, tokens = self._line(self._tokens[self._next][2]), []
        while self._next < len(self._tokens) and self._tokens[self._next][0] == 'number':
            tokens.append(self._tokens[self._next][1])
            self._next += 1
        return _Numbers(line, tokens)

    def _list(self, depth):
        self._next += 1
        values = []
        while self._peek() != ('mark', b']'):
            if self._peek()[0] == 'bad':
                raise self._error('a quotation mark is not closed')
            values += self._field(depth)
        self._next += 1
        return values


def _blank_comment(match):
    text = match.group()
    return text if text[:1] == b'"' else b''


def _unquote(text):
    return re.sub(rb'\\(.)', rb'\1', text[1:-1]).decode('utf-8', 'replace')


def _collect_shapes(path, nodes, transform, texture, shapes):
    """Appends (vertices, triangles, uv, texture) of every IndexedFaceSet below `nodes`."""
    for node in nodes:
        if not isinstance(node, dict):
            continue
        if node['type'] == 'IndexedFaceSet':
            shapes.append((*_face_set(path, node, transform), texture))
            continue
        inner = transform @ _matrix(path, node) if node['type'] == 'Transform' else transform
        image = _texture_name(node.get('appearance', [])) or texture
        for field, values in node.items():
            if field not in ('type', 'appearance'):
                _collect_shapes(path, values, inner, image, shapes)


def _texture_name(appearance):
    """Returns the first url of the ImageTexture of an Appearance, or None."""
    for node in appearance:
        texture = node.get('texture', []) if isinstance(node, dict) else []
        for image in texture:
            urls = image.get('url', []) if isinstance(image, dict) else []
            if urls and isinstance(urls[0], str):
                return urls[0]
    return None


def _matrix(path, node):
    """Returns the 4 x 4 matrix of a Transform: translate, turn about `center`, scale."""

    def field(name, default):
        values = _numbers(path, node, name, np.float64)
        return np.array(default, float) if len(values) != len(default) else values

    axis, angle = np.split(field('rotation', (0, 0, 1, 0)), [3])
    x, y, z = axis / (np.linalg.norm(axis) or 1)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    linear = rotation * field('scale', (1, 1, 1))  # Columns: scale first, then rotation.
    center, matrix = field('center', (0, 0, 0)), np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = field('translation', (0, 0, 0)) + center - linear @ center
    return matrix


def _numbers(path, node, name, dtype):
    """Returns the numbers of a field, [] where the node has none."""
    values = node.get(name, [])
    tokens, line = [], None
    for value in values:
        if not isinstance(value, _Numbers):
            raise ScanError(f'{path}, list {name}: holds something that is not a number.')
        tokens, line = tokens + value.tokens, line or value.line
    return scan_lib.parse_numbers(path, f'list {name} (line {line})', tokens, dtype)


def _points(path, node, field, width):
    """Returns the rows of the Coordinate or TextureCoordinate in `field`, or None."""
    inner = node.get(field, [None])[0]
    if not isinstance(inner, dict):
        return None
    values = _numbers(path, inner, 'point', np.float64)
    if len(values) % width:
        raise ScanError(
            f'{path}, list point of {field}: {len(values)} numbers are no multiple of {width}.'
        )
    rows = values.reshape(-1, width)
    scan_lib.check_finite(path, f'list point of {field}', rows)
    return rows


def _corners(path, node, name):
    """Returns the corner indices of an index list without its -1, and corners per polygon."""
    values = _numbers(path, node, name, np.int64)
    if len(values) and values[-1] != -1:
        values = np.append(values, -1)  # The last terminator may be left out.
    ends = np.flatnonzero(values == -1)
    return values[values != -1], np.diff(ends, prepend=-1) - 1


def _face_set(path, node, transform):
    """Returns vertices [V, 3], triangles [F, 3] and uv [V, 2] or None of one node."""
    vertices = _points(path, node, 'coord', 3)
    if vertices is None:
        raise ScanError(f'{path}: an IndexedFaceSet has no coord; the file may be cut off.')
    corners, counts = _corners(path, node, 'coordIndex')
    scan_lib.check_indices(path, 'list coordIndex', corners, len(vertices), 'points')
    triangles = corners[scan_lib.triangulate(counts)]
    if node.get('ccw') == ['FALSE']:
        triangles = triangles[:, ::-1]
    uv, texture_points = None, _points(path, node, 'texCoord', 2)
    if texture_points is not None:
        texture_corners, texture_counts = _corners(path, node, 'texCoordIndex')
        if len(texture_corners) == 0:
            texture_corners, texture_counts = corners, counts
        if not np.array_equal(counts, texture_counts):
            raise ScanError(f'{path}, list texCoordIndex: its polygons differ from coordIndex.')
        scan_lib.check_indices(
            path, 'list texCoordIndex', texture_corners, len(texture_points), 'texture points'
        )
        uv = scan_lib.uv_per_vertex(len(vertices), corners, texture_points[texture_corners])
        unindexed = np.array_equal(texture_corners, corners)
        if unindexed and len(texture_points) == len(vertices):
            uv = texture_points
    return vertices @ transform[:3, :3].T + transform[:3, 3], triangles, uv


def _merge(path, shapes):
    offset, vertices, triangles, uv = 0, [], [], []
    has_uv = any(shape[2] is not None for shape in shapes)
    for points, faces, coordinates, _ in shapes:
        vertices.append(points)
        triangles.append(faces + offset)
        uv.append(np.zeros((len(points), 2)) if coordinates is None else coordinates)
        offset += len(points)
    texture = next((shape[3] for shape in shapes if shape[3] is not None), None)
    return scan_lib.make_scan(
        path,
        np.concatenate(vertices),
        np.concatenate(triangles),
        np.concatenate(uv) if has_uv else None,
        texture,
    )
