"""Scans as real tools write and break them, shared by the tests and the fuzzing.

Every good one is the same surface: two triangles, POINTS and TRIANGLES.
"""

from typing import NamedTuple

import numpy as np

POINTS = np.array([[0, 0, 0], [10.5, 0, -1], [10, 12, 2], [0, 11, 1]], np.float32)
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


class Variant(NamedTuple):
    """complaint: part of the sentence that refuses it, or None where it is read."""

    name: str
    suffix: str
    content: bytes
    complaint: str | None = None


_V = """#VRML V2.0 utf8
Shape { geometry IndexedFaceSet {
  coord Coordinate { point [ 0 0 0, 10.5 0 -1, 10 12 2, 0 11 1 ] }
  coordIndex [ 0, 1, 2, -1, 0, 2, 3, -1 ]
} }
"""
_ROWS = ['0 0 0', '10.5 0 -1', '10 12 2', '0 11 1']
_P = """ply
format ascii 1.0
element vertex 4
property float x
property float y
property float z
element face 2
property list uchar int vertex_indices
end_header
0 0 0
10.5 0 -1
10 12 2
0 11 1
3 0 1 2
3 0 2 3
"""
_O = ''.join(f'v {row}\n' for row in _ROWS) + 'f 1 2 3\nf 1 3 4\n'


def _binary(order, *, index='i4', mixed=False):
    header = _P.partition('end_header\n')[0]
    name = {'<': 'little', '>': 'big'}[order]
    header = header.replace('ascii', f'binary_{name}_endian')
    if index == 'u2':
        header = header.replace('uchar int', 'uint8 uint16')
    if mixed:  # A line, which is no face, makes the lists of unequal length.
        header = header.replace('face 2', 'face 3')
    faces = [[0, 1], [0, 1, 2], [0, 2, 3]][0 if mixed else 1 :]
    body = POINTS.astype(f'{order}f4').tobytes()
    for face in faces:
        body += bytes([len(face)]) + np.array(face, order + index).tobytes()
    return header.encode() + b'end_header\n' + body


def _vrml(name, old, new, complaint=None):
    assert old in _V
    return Variant(f'vrml {name}', '.wrl', _V.replace(old, new).encode(), complaint)


def _ply(name, old, new, complaint=None):
    assert old in _P
    return Variant(f'ply {name}', '.ply', _P.replace(old, new).encode(), complaint)


def _obj(name, old, new, complaint=None):
    assert old in _O
    return Variant(f'obj {name}', '.obj', _O.replace(old, new).encode(), complaint)


def _laughs(count):
    """Returns a VRML file in which USE repeats one surface 2 ** count times."""
    text = _V.replace('Shape {', 'DEF A0 Shape {')
    for n in range(count):
        text += f'DEF A{n + 1} Group {{ children [ USE A{n} USE A{n} ] }}\n'
    return text.encode()


_UV = 'texCoord TextureCoordinate { point [ 0 0 1 1 ] } texCoordIndex [ 0 1 1 -1 0 1 0 -1 ] coordIn'
_MAC = _O.replace('\n', '\r').encode()
VARIANTS = [
    Variant('vrml plain', '.wrl', _V.encode()),
    _vrml('without commas', ',', ' '),
    _vrml('commas everywhere', ' -1', ' , -1 ,'),
    _vrml('comments', '[', '[ # , ] } "\n'),
    _vrml('CRLF', '\n', '\r\n'),
    _vrml('CR', '\n', '\r'),
    _vrml('byte order mark', '#VRML', '\ufeff#VRML'),
    _vrml('exponents', '10.5', '+1.05E+01'),
    _vrml('DEF', 'Shape', 'DEF Head-1 Shape'),
    _vrml('DEF of the points', 'coord C', 'coord DEF P C'),
    _vrml('quad', '2, -1, 0, 2, 3', '2, 3'),
    _vrml('no last -1', '3, -1 ]', '3 ]'),
    _vrml('texture indices of their own', 'coordIn', _UV),
    _vrml('missing texture', 'geom', 'appearance Appearance { texture NULL } geom'),
    _vrml('two urls', 'geom', 'appearance Appearance { texture ImageTexture '
          '{ url [ "a.jpg" "b.jpg" ] } } geom'),
    _vrml('flags', 'coordI', 'solid FALSE creaseAngle .5 convex TRUE coordI'),
    _vrml('PROTO', 'Shape', 'PROTO A [ ] { } Shape', 'prototypes'),
    _vrml('version 1', 'V2.0 utf8', 'V1.0 ascii', 'VRML 1.0'),
    _vrml('NaN', '10.5', 'nan', 'not finite'),
    _vrml('infinity', '10.5', '1e999', 'not finite'),
    _vrml('too large for 32 bits', '10.5', '1e40', 'not finite'),
    _vrml('index too large', '2, 3', '2, 4', 'index 4 is out of range of 4'),
    _vrml('index of 40 digits', '2, 3', '2, ' + '9' * 40, 'is not a number'),
    _vrml('negative index', '2, 3', '2, -2', 'index -2 is out of range'),
    _vrml('fraction as index', '2, 3', '2, 3.5', "'3.5' is not a number"),
    _vrml('two numbers in a word', '10.5', '10.5.1', "'10.5.1' is not a number"),
    _vrml('half a number', '2, 3', '2, -', "'-' is not a number"),
    _vrml('half a number at the end', '11 1 ] }', '11 . ] }', "'.' is not a number"),
    _vrml('zero faces', '0, 1, 2, -1, 0, 2, 3, -1', '', 'no faces'),
    _vrml('open string', 'Shape', 'WorldInfo { title "a\\" }\nShape', 'not closed'),
    _vrml('endless lists', 'Shape {', 'Shape { a' + '[' * 5000, 'nested'),
    _vrml('endless names', 'Shape {', 'DEF a ' * 5000 + 'Shape {', 'nested'),
    _vrml('odd Transform', 'Shape', 'Transform { scale 1 2 children Shape', 'cut off'),
    Variant('vrml repeated without end', '.wrl', _laughs(60), 'USE repeats'),
    Variant('vrml gzip', '.wrl', b'\x1f\x8b\x08' + bytes(50), 'gzip'),
    Variant('vrml rubbish', '.wrl', b'#VRML V2.0 utf8\n' + bytes(range(256)) * 40, ''),
    Variant('ply plain', '.ply', _P.encode()),
    _ply('CRLF', '\n', '\r\n'),
    _ply('byte order mark', 'ply\nf', '\ufeffply\nf'),
    Variant('ply quad', '.ply', _P.replace('face 2', 'face 1')
         .replace('3 0 1 2\n3 0 2 3', '4 0 1 2 3').encode()),
    _ply('old name of the list', 'indices', 'index'),
    _ply('unknown elements', 'end_header', 'element edge 0\nproperty int a\nend_header'),
    _ply('element without properties', 'element face', 'element nothing 5\nelement face'),
    _ply('comments', 'element f', 'comment TextureFile\nobj_info 1\nelement f'),
    Variant('ply little endian', '.ply', _binary('<')),
    Variant('ply big endian', '.ply', _binary('>')),
    Variant('ply short indices', '.ply', _binary('>', index='u2')),
    Variant('ply unequal lists', '.ply', _binary('<', mixed=True)),
    Variant('ply cut binary', '.ply', _binary('<')[:-5], 'cut off'),
    _ply('10^9 vertices', 'vertex 4', 'vertex 1000000000', 'is not readable'),
    _ply('10^6 vertices', 'vertex 4', 'vertex 1000000', 'cut off'),
    _ply('negative count', 'vertex 4', 'vertex -4', 'is not readable'),
    _ply('a list as x', 'property float x', 'property list uchar float x', ''),
    _ply('a name twice', 'float y', 'float x', 'twice'),
    _ply('list of a float length', 'uchar int', 'float int', 'is not readable'),
    _ply('negative list', '3 0 1 2', '-3 0 1 2', 'a list of length -3'),
    _ply('fraction as index', '3 0 1 2', '3 0 1.5 2', 'not a whole number'),
    _ply('NaN as index', '3 0 1 2', '3 0 nan 2', 'not finite'),
    _ply('word', '10 12', '10 twelve', "'twelve' is not a number"),
    _ply('no faces', 'face 2', 'face 0', 'no faces'),
    _ply('no format', 'format ascii 1.0\n', '', 'format'),
    Variant('obj plain', '.obj', _O.encode()),
    Variant('obj CR', '.obj', _MAC),
    _obj('CRLF and comments', '\n', ' # f 1 1 1\r\n'),
    _obj('byte order mark', 'v 0 0 0', '\ufeffv 0 0 0'),
    _obj('quad', 'f 1 2 3\nf 1 3 4', 'f 1 2 3 4'),
    _obj('continued line', 'f 1 2 3', 'f 1 \\\n 2 3'),
    _obj('negative indices', 'f 1 3 4', 'f -4 -2 -1'),
    _obj('colours', 'v 10 12 2', 'v 10 12 2 0.1 0.2 0.3'),
    _obj('tabs', 'v 10 12 2', '\tv\t10\t12\t2'),
    _obj('normals', 'f 1 2 3', 'vn 0 0 1\nf 1//1 2//1 3//1'),
    _obj('texture of one face', 'f 1 2 3', 'vt 0 0\nf 1/1 2/1 3/1'),
    _obj('missing library', 'f 1 2 3', 'mtllib gone.mtl\nusemtl a\nf 1 2 3'),
    _obj('index 0', 'f 1 2 3', 'f 0 1 2', 'index 0'),
    _obj('index too large', 'f 1 2 3', 'f 1 2 9', 'index 8 is out of range'),
    _obj('index too far back', 'f 1 2 3', 'f -1 -2 -9', 'index -5 is out of range'),
    _obj('corner without vertex', 'f 1 2 3', 'f /1 2 3', 'no vertex'),
    _obj('corner of rubbish', 'f 1 2 3', 'f a b c', 'is not a number'),
    _obj('texture out of range', 'f 1 2 3\nf 1 3 4', 'f 1/7 2/7 3/7', 'texture coordinates'),
    _obj('row of two', 'v 10 12 2', 'v 10 12', 'fewer than 3'),
    _obj('infinity', 'v 10 12 2', 'v 10 12 inf', 'not finite'),
    _obj('binary', 'f 1 2 3', '\0', 'binary'),
]  # fmt: skip
