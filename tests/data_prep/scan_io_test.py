import os
import time
import tracemalloc

import numpy as np
import pytest

from data_prep.scans import scan_io
from data_prep.scans.scan_io import Scan, ScanError
from tests.helpers import scan_variants

_POINTS = np.array([[0, 0, 0], [10.5, 0, -1e-3], [10, 12, 2], [0, 11, 1], [5, 20, 0]], np.float32)
_TRIANGLES = np.array([[0, 1, 2], [0, 2, 3], [3, 2, 4]], np.int32)
_UV = np.array([[0, 0], [1, 0], [1, 0.5], [0, 0.5], [0.5, 1]], np.float32)
_PLAIN = """#VRML V2.0 utf8
Shape { geometry IndexedFaceSet {
  coord Coordinate { point [ 0 0 0, 10.5 0 -1e-3, 10 12 2, 0 11 1, 5 20 0 ] }
  coordIndex [ 0, 1, 2, -1, 0, 2, 3, -1, 3, 2, 4, -1 ]
} }
"""


def _scan():
    return Scan(_POINTS, _TRIANGLES, _UV, '000.jpg')


def _read(tmp_path, content, suffix='.wrl'):
    path = tmp_path / f'scan{suffix}'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return scan_io.read_scan(path)


def _grid_scan(side):
    index = np.arange(side * side).reshape(side, side)
    a, b, c = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[:-1, 1:].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([c, b, b + 1], 1)])
    points = np.random.default_rng(0).normal(size=(side * side, 3)) * 100
    return Scan(points.astype(np.float32), triangles.astype(np.int32))


@pytest.mark.parametrize(
    'write, suffix',
    [(scan_io.write_vrml, '.wrl'), (scan_io.write_ply, '.ply'), (scan_io.write_obj, '.obj')],
)
def test_reading_returns_what_was_written(tmp_path, write, suffix):
    for scan in (_scan(), _grid_scan(20)):
        write(tmp_path / f'a{suffix}', scan)
        read = scan_io.read_scan(tmp_path / f'a{suffix}')
        np.testing.assert_allclose(read.vertices, scan.vertices, atol=1e-4)
        np.testing.assert_array_equal(read.triangles, scan.triangles)
        assert (read.uv is None) == (scan.uv is None)
        if scan.uv is not None:
            np.testing.assert_allclose(read.uv, scan.uv, atol=1e-6)
        assert read.vertices.dtype == np.float32 and read.triangles.dtype == np.int32
    if suffix != '.obj':
        write(tmp_path / f'a{suffix}', _scan())
        assert scan_io.read_scan(tmp_path / f'a{suffix}').texture == '000.jpg'


@pytest.mark.parametrize(
    'change',
    [
        lambda text: text.replace(',', ' '),
        lambda text: text.replace(',', ' , '),
        lambda text: text.replace('\n', '\r\n'),
        lambda text: text.replace('\n', '\r'),
        lambda text: '\ufeff' + text,
        lambda text: text.replace('[', '[ # a } comment ] "\n'),
        lambda text: text.replace(' 0 0 0', ' +0 0.E0 -.0'),
        lambda text: text.replace(', -1 ]', ' ]'),
        lambda text: text.replace('coord Coord', 'coord DEF face-1 Coord'),
        lambda text: text.replace('Shape', 'DEF S Shape'),
        lambda text: text.replace('coordIndex', 'solid FALSE creaseAngle 0.5 coordIndex'),
        lambda text: text.replace('Shape', 'WorldInfo { title "a # { \\" b" info ["c"] }\nShape'),
        lambda text: text.replace('Shape', 'Transform { children [ Shape') + ' ] }',
        lambda text: text + 'ROUTE a.b TO c.d\n',
        lambda text: text.replace('Shape {', 'Shape { appearance Appearance { texture NULL }'),
        lambda text: text.replace('2, -1, 0, 2, 3', '2, 3').replace('3, -1, 3, 2', '3, -1, 3, 2'),
    ],
)
def test_every_spelling_of_vrml_gives_the_same_scan(tmp_path, change):
    scan = _read(tmp_path, change(_PLAIN))
    np.testing.assert_allclose(scan.vertices, _POINTS)
    np.testing.assert_array_equal(scan.triangles, _TRIANGLES)


def test_use_of_a_defined_coordinate_gives_the_same_points(tmp_path):
    second = 'Shape { geometry IndexedFaceSet { coord USE C coordIndex [ 0 1 2 -1 ] } }'
    scan = _read(tmp_path, _PLAIN.replace('coord Coord', 'coord DEF C Coord') + second)
    assert len(scan.vertices) == 10
    np.testing.assert_array_equal(scan.triangles[-1], [5, 6, 7])


def test_a_transform_moves_its_shape(tmp_path):
    text = _PLAIN.replace(
        'Shape', 'Transform { translation 1 2 3 rotation 0 0 1 1.5707963 scale 2 2 2 children Shape'
    )
    x, y, z = 2 * _POINTS.T  # A quarter turn about z takes (x, y) to (-y, x).
    expected = np.stack([1 - y, 2 + x, 3 + z], axis=1)
    np.testing.assert_allclose(_read(tmp_path, text + '}').vertices, expected, atol=1e-4)


def test_clockwise_faces_are_turned(tmp_path):
    scan = _read(tmp_path, _PLAIN.replace('coordIndex', 'ccw FALSE coordIndex'))
    np.testing.assert_array_equal(scan.triangles, _TRIANGLES[:, ::-1])


def test_separate_texture_indices_keep_the_topology_of_positions(tmp_path):
    extra = """texCoord TextureCoordinate { point [ .1 .1 .2 .2 .3 .3 .4 .4 ] }
    texCoordIndex [ 3 2 1 -1 3 1 0 -1 0 1 2 -1 ] coordIndex"""
    scan = _read(tmp_path, _PLAIN.replace('coordIndex', extra))
    np.testing.assert_array_equal(scan.triangles, _TRIANGLES)
    np.testing.assert_allclose(scan.uv[:, 0], [0.4, 0.3, 0.2, 0.1, 0.3])


def test_without_texture_indices_those_of_the_points_hold(tmp_path):
    extra = 'texCoord TextureCoordinate { point [ 0 0 1 0 1 .5 0 .5 .5 1 ] } coordIndex'
    np.testing.assert_allclose(_read(tmp_path, _PLAIN.replace('coordIndex', extra)).uv, _UV)


_PLY = """ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y
property float z\nproperty uchar red\nelement face 2
property list uchar int vertex_indices\nend_header
0 0 0 9\n1 0 0 9\n1 1 0 9\n0 1 0 9\n3 0 1 2\n4 0 1 2 3\n"""


def test_ascii_ply_with_mixed_polygons_is_triangulated(tmp_path):
    scan = _read(tmp_path, _PLY, '.ply')
    np.testing.assert_array_equal(scan.triangles, [[0, 1, 2], [0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize('order, name', [('<', 'little'), ('>', 'big')])
def test_binary_ply_of_both_byte_orders_is_read(tmp_path, order, name):
    header, body = _PLY.split('end_header\n')
    header = header.replace('ascii', f'binary_{name}_endian') + 'end_header\n'
    rows = [line.split() for line in body.splitlines()]
    data = b''
    for row in rows[:4]:
        data += np.array(row[:3], order + 'f4').tobytes() + bytes([int(row[3])])
    for row in rows[4:]:
        data += bytes([int(row[0])]) + np.array(row[1:], order + 'i4').tobytes()
    scan = _read(tmp_path, header.encode() + data, '.ply')
    np.testing.assert_array_equal(scan.triangles, [[0, 1, 2], [0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(scan.vertices[2], [1, 1, 0])
    with pytest.raises(ScanError, match='cut off'):
        _read(tmp_path, header.encode() + data[:-3], '.ply')


def test_obj_quads_negative_indices_and_normals_are_read(tmp_path):
    text = """# comment
v 0 0 0 0.5 0.5 0.5
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 1
vn 0 0 1
f 1/1/1 2/2/1 \\
  3/2/1 4/1/1
f -4/-2 -3/-1 -2/-1
v 5 5 5
f -4//1 3//1 2//1
"""
    scan = _read(tmp_path, text, '.obj')
    np.testing.assert_array_equal(scan.triangles, [[0, 1, 2], [0, 2, 3], [0, 1, 2], [1, 2, 1]])


_BROKEN = [
    ('a.wrl', b'', 'empty'),
    ('a.wrl', b'hello', 'no VRML'),
    ('a.wrl', b'#VRML V1.0 ascii\n', 'VRML 1.0'),
    ('a.wrl', b'#VRML V2.0 utf8\n', 'no IndexedFaceSet'),
    ('a.wrl', _PLAIN[:120], 'line 3: the file ends too early'),
    ('a.wrl', _PLAIN[:-40], 'line 4: the file ends too early'),
    ('a.wrl', _PLAIN.replace('10.5', 'nan'), 'list point'),
    ('a.wrl', _PLAIN.replace('10.5', '1e99999'), 'not finite'),
    ('a.wrl', _PLAIN.replace('10.5', 'ten'), 'line 3'),
    ('a.wrl', _PLAIN.replace('3, 2, 4', '3, 2, 5'), 'index 5 is out of range of 5 points'),
    ('a.wrl', _PLAIN.replace('3, 2, 4', '3, 2, -2'), 'index -2 is out of range'),
    ('a.wrl', _PLAIN.replace('3, 2, 4', '3, 2, 4.5'), "'4.5' is not a number"),
    ('a.wrl', _PLAIN.replace('3, 2, 4', '3, 2, ' + '9' * 40), 'is not a number'),
    ('a.wrl', _PLAIN.replace('5 20 0', '5 20'), 'no multiple of 3'),
    ('a.wrl', _PLAIN.replace('coordIndex', 'colorIndex'), 'no faces'),
    ('a.wrl', _PLAIN.replace('coord Coordinate', 'coord USE X #'), 'never DEFined'),
    ('a.wrl', '#VRML V2.0 utf8\n' + 'Group { children ' * 5000, 'nested'),
    ('a.wrl', b'#VRML V2.0 utf8\n' + bytes(range(256)) * 50, ''),
    ('a.ply', b'\x00\xff' * 500, 'no PLY header'),
    ('a.ply', _PLY.replace('vertex 4', 'vertex 4000000000'), "line 3: 'element vertex 4000000000'"),
    ('a.ply', _PLY.replace('vertex 4', 'vertex 400'), 'element vertex: the file ends too early'),
    ('a.ply', _PLY.replace('3 0 1 2', '3 0 1 7'), 'index 7 is out of range'),
    ('a.ply', _PLY.replace('3 0 1 2', '99999999 0 1 7'), 'ends too early'),
    ('a.ply', _PLY.replace('1 0 0 9', 'nan 0 0 9'), 'not finite'),
    ('a.ply', _PLY.replace('element face 2', 'element face 0').rsplit('3 0', 1)[0], 'no faces'),
    ('a.obj', b'v 0 0 0\nv 1 0 0\nv 0 1 0\n', 'no faces'),
    ('a.obj', b'v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n', 'index 8 is out of range'),
    ('a.obj', b'v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n', 'index 0'),
    ('a.obj', b'v 0 0\nf 1 1 1\n', 'fewer than 3'),
    ('a.obj', b'v 0 0 inf\nf 1 1 1\n', 'not finite'),
    ('a.obj', b'\x00\x01binary', 'binary'),
    ('a.stl', b'solid', 'not a scan'),
]


@pytest.mark.parametrize('name, content, message', _BROKEN)
def test_a_broken_file_gives_one_sentence_with_its_path(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ScanError) as caught:
        scan_io.read_scan(path)
    assert str(path) in str(caught.value) and message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    (tmp_path / 'a.wrl').mkdir()
    for name in ('a.wrl', 'b.wrl'):
        with pytest.raises(ScanError, match=f'{name}: cannot be read'):
            scan_io.read_scan(tmp_path / name)


@pytest.mark.parametrize('suffix', ['.wrl', '.ply', '.obj'])
def test_a_file_cut_or_damaged_anywhere_never_crashes(tmp_path, suffix):
    write = {'.wrl': scan_io.write_vrml, '.ply': scan_io.write_ply, '.obj': scan_io.write_obj}
    path = tmp_path / f'a{suffix}'
    write[suffix](path, _scan())
    data, rng = path.read_bytes(), np.random.default_rng(0)
    damaged = [data[:end] for end in range(0, len(data), 7)]
    for _ in range(200):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            changed[place] = rng.integers(256)
        damaged.append(bytes(changed))
    for content in damaged:
        path.write_bytes(content)
        try:
            scan = scan_io.read_scan(path)
        except ScanError:
            continue
        assert scan.triangles.max() < len(scan.vertices) and np.isfinite(scan.vertices).all()


@pytest.mark.parametrize(
    'variant', scan_variants.VARIANTS, ids=[variant.name for variant in scan_variants.VARIANTS]
)
def test_a_variant_is_read_as_the_same_surface_or_refused_in_one_sentence(tmp_path, variant):
    path = tmp_path / f'scan{variant.suffix}'
    path.write_bytes(variant.content)
    if variant.complaint is None:
        scan = scan_io.read_scan(path)
        np.testing.assert_allclose(scan.vertices, scan_variants.POINTS)
        np.testing.assert_array_equal(scan.triangles, scan_variants.TRIANGLES)
        return
    with pytest.raises(ScanError) as caught:
        scan_io.read_scan(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path)) and variant.complaint in sentence
    assert sentence.endswith('.') and '\n' not in sentence and len(sentence) < 250


def test_only_the_finest_level_and_the_chosen_part_are_read(tmp_path):
    shape = _PLAIN.partition('\n')[2]
    far = shape.replace('5 20 0', '5 99 0')
    for group in (
        f'LOD {{ level [ {shape} {far} ] }}',
        f'Switch {{ whichChoice 1 choice [ {far} {shape} ] }}',
    ):
        scan = _read(tmp_path, f'#VRML V2.0 utf8\n{group}')
        np.testing.assert_allclose(scan.vertices, _POINTS)


def test_scaling_along_turned_axes_is_that_of_the_standard(tmp_path):
    text = _PLAIN.replace(
        'Shape', 'Transform { scaleOrientation 0 0 1 1.5707963 scale 2 1 1 children Shape'
    )
    expected = _POINTS * [1, 2, 1]  # The first axis of the scaling points along y.
    np.testing.assert_allclose(_read(tmp_path, text + '}').vertices, expected, atol=1e-4)


@pytest.mark.parametrize(
    'name', ['../secret.png', '/etc/passwd', 'C:\\\\a.png', 'a/../../b', 'http://a/b', '\\\\x']
)
def test_a_texture_that_lies_elsewhere_is_not_named(tmp_path, name):
    texture = f'appearance Appearance {{ texture ImageTexture {{ url "{name}" }} }} geometry'
    assert _read(tmp_path, _PLAIN.replace('geometry', texture)).texture is None


def test_a_material_library_is_read_beside_the_scan_only(tmp_path):
    text = 'v 0 0 0\nv 1 0 0\nv 0 1 0\nmtllib {}\nf 1 2 3\n'
    (tmp_path / 'outside.mtl').write_text('newmtl a\nmap_Kd a.png\n')
    inside = tmp_path / 'inside'
    inside.mkdir()
    (inside / 'a.mtl').write_text('newmtl a\nmap_Kd skin.png\n')
    (inside / 'b.mtl').write_text('newmtl a\nmap_Kd ../../skin.png\n')
    os.mkfifo(inside / 'pipe.mtl')
    libraries = ('a.mtl', 'b.mtl', '../outside.mtl', f'{tmp_path}/outside.mtl', 'pipe.mtl', '.')
    textures = [_read(inside, text.format(name), '.obj').texture for name in libraries]
    assert textures == ['skin.png', None, None, None, None, None]


@pytest.mark.parametrize('suffix', scan_io.SUFFIXES)
def test_what_is_no_file_is_refused_at_once(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    for make in (
        os.mkdir,
        os.mkfifo,
        lambda path: os.symlink(path, path),
        lambda path: os.symlink('/dev/zero', path),
        lambda path: os.symlink('nowhere', path),
    ):
        make(path)
        with pytest.raises(ScanError, match='cannot be read'):
            scan_io.read_scan(path)
        os.rmdir(path) if path.is_dir() else os.remove(path)


def test_a_file_above_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / 'a.obj'
    with open(path, 'wb') as file:
        file.truncate(scan_io.MAX_BYTES + 1)  # Takes no place on disk.
    with pytest.raises(ScanError, match='larger than 134217728 bytes'):
        scan_io.read_scan(path)


_HEADER = b'#VRML V2.0 utf8\n'
_GREEDY = {
    'lists.wrl': _HEADER + b'[' * 200_000,
    'numbers.wrl': _HEADER + b'A { b [' + b'0,' * 100_000,
    'points.wrl': _HEADER
    + b'Shape { geometry IndexedFaceSet { coord Coordinate { point ['
    + b'0 ' * 99_999
    + b'] } coordIndex ['
    + b'0 ' * 100_000
    + b'] } }',
    'nodes.wrl': _HEADER + b'A{}' * 70_000,
    'fields.wrl': _HEADER + b'A{' + b'a 1 ' * 50_000,
    'strings.wrl': _HEADER + b'A { b "' + b'\\"' * 100_000,
    'quotes.wrl': _HEADER + b'A { b [' + b'"" ' * 70_000,
    'comments.wrl': _HEADER + b'#\n' * 100_000,
    'blank.wrl': _HEADER + b' ' * 200_000,
    'numbers.ply': b'ply\nformat ascii 1.0\nelement face 100000\n'
    b'property list uchar int vertex_indices\nend_header\n' + b'0 ' * 100_000,
    'lists.ply': b'ply\nformat binary_little_endian 1.0\nelement face 200000\n'
    b'property list uchar uchar vertex_indices\nend_header\n\1\1' + b'\0' * 200_000,
    'vertices.obj': b'v\n' * 100_000,
    'points.obj': b'v 0 0 0\n' * 25_000 + b'f -1 -1 -1\n' * 20_000,
    'slashes.obj': b'v 0 0 0\nf ' + b'1/1 ' * 50_000,
    'blank.obj': b' \n' * 100_000,
    'corners.obj': b'v 0 0 0\nf ' + b'1 ' * 100_000,
}


@pytest.mark.parametrize('name', _GREEDY)
def test_no_content_takes_more_memory_or_time_than_the_stated_limits(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(_GREEDY[name])
    tracemalloc.start()
    started = time.process_time()
    try:
        scan_io.read_scan(path)
    except ScanError:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - started < 20  # Traced, and a quadratic reader takes minutes.
    assert peak < scan_io.MEMORY_FACTOR * len(_GREEDY[name]) + 2**20


@pytest.mark.parametrize('write', ['write_vrml', 'write_ply', 'write_obj'])
def test_a_file_cut_at_every_kilobyte_is_refused_or_sound(tmp_path, write):
    path = tmp_path / f'a.{write[6:].replace("vrml", "wrl")}'
    getattr(scan_io, write)(path, _grid_scan(30))
    content = path.read_bytes()
    for end in range(0, len(content), 1024):
        path.write_bytes(content[:end])
        try:
            scan = scan_io.read_scan(path)
        except ScanError:
            continue
        assert scan.triangles.max() < len(scan.vertices)  # OBJ may be cut between two lines.
        assert write == 'write_obj'
