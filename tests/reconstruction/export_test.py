import json

import cv2
import numpy as np
import pytest
import trimesh

from seqface_jax.errors import UserError
from seqface_jax.geometry import map_grid, surface
from seqface_jax.reconstruction import export
from tests.helpers import bumpy_face

_VERTICES = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], np.float32)
_TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
_CONFIDENCE = np.array([0.1, 0.2, 0.3, 1.0], np.float32)
_RED, _GREEN = (250, 10, 20), (10, 200, 30)


def _save(tmp_path, name):
    path = tmp_path / 'new' / name
    export.save(str(path), _VERTICES, _TRIANGLES, _CONFIDENCE)
    return path


@pytest.fixture(scope='module')
def face():
    """Returns vertices, triangles, confidence, uv and a texture whose upper left is red."""
    points = bumpy_face.position_map_of(0)
    mask = bumpy_face.mask_of(points)
    vertices, triangles = surface.from_prediction(points, ordered=True, mask=mask)
    confidence = np.linspace(0.2, 1, len(vertices)).astype(np.float32)
    uv = map_grid.grid_uv(len(mask))[mask.ravel()]
    texture = np.full((64, 64, 3), _GREEN, np.uint8)
    texture[:32, :32] = _RED
    return vertices.astype(np.float32), triangles, confidence, uv, texture


def _save_face(tmp_path, name, face, **more):
    path = tmp_path / name
    vertices, triangles, confidence, uv, texture = face
    export.save(str(path), vertices, triangles, confidence, uv=uv, texture=texture, **more)
    return path


def _header_of_glb(path):
    data = path.read_bytes()
    return json.loads(data[20 : 20 + int.from_bytes(data[12:16], 'little')])


def test_a_ply_says_what_it_holds_and_holds_it(tmp_path):
    header, body = _save(tmp_path, 'face.ply').read_bytes().split(b'end_header\n')
    lines = header.decode().splitlines()
    assert lines[:2] == ['ply', 'format binary_little_endian 1.0']
    assert 'comment unit: mm' in lines
    assert 'element vertex 4' in lines and 'element face 2' in lines
    vertices = np.frombuffer(body[: 4 * 28], '<f4').reshape(4, 7)
    np.testing.assert_array_equal(vertices[:, :3], _VERTICES)
    np.testing.assert_array_equal(vertices[:, 3:6], [[0, 0, 1]] * 4)  # Towards +z.
    np.testing.assert_array_equal(vertices[:, 6], _CONFIDENCE)
    faces = np.frombuffer(body[4 * 28 :], [('count', 'u1'), ('index', '<i4', 3)])
    np.testing.assert_array_equal(faces['count'], 3)
    np.testing.assert_array_equal(faces['index'], _TRIANGLES)


def test_an_obj_counts_from_one(tmp_path):
    lines = _save(tmp_path, 'face.obj').read_text().splitlines()
    assert lines[0] == '# unit: mm' and 'v 2.00000 2.00000 0.00000' in lines
    assert lines[-2:] == ['f 1//1 2//2 3//3', 'f 1//1 3//3 4//4']


def test_an_npz_gives_the_arrays_back(tmp_path, face):
    with np.load(_save_face(tmp_path, 'face.npz', face)) as found:
        names = ('vertices', 'triangles', 'confidence', 'uv', 'texture')
        for name, array in zip(names, face, strict=True):
            np.testing.assert_array_equal(found[name], array)
        assert found['unit'] == 'mm'


def test_another_program_reads_the_same_ply(tmp_path, face):
    found = trimesh.load(_save_face(tmp_path, 'face.ply', face), process=False)
    np.testing.assert_array_equal(found.vertices, face[0])
    np.testing.assert_array_equal(found.faces, face[1])
    np.testing.assert_array_equal(found.metadata['_ply_raw']['vertex']['data']['quality'], face[2])
    up_left = (face[3][:, 0] < 0.45) & (face[3][:, 1] > 0.55)
    assert (found.visual.vertex_colors[up_left, :3] == _RED).all()


def test_points_alone_are_a_ply(tmp_path):
    path = tmp_path / 'points.ply'
    export.save(str(path), _VERTICES, None, _CONFIDENCE)
    found = trimesh.load(path)
    np.testing.assert_array_equal(found.vertices, _VERTICES)
    with pytest.raises(UserError, match=r'points without triangles go to \.ply or \.npz'):
        export.save(str(tmp_path / 'points.obj'), _VERTICES, None, _CONFIDENCE)


def test_an_obj_comes_back_with_its_texture_the_right_way_up(tmp_path, face):
    path = _save_face(tmp_path, 'face.obj', face)
    found = trimesh.load(path, process=False, maintain_order=True)
    np.testing.assert_allclose(found.vertices, face[0], atol=1e-4)
    np.testing.assert_array_equal(found.faces, face[1])
    np.testing.assert_allclose(found.visual.uv, face[3], atol=1e-8)
    picture = cv2.imread(str(tmp_path / 'face_texture.png'))[..., ::-1]
    np.testing.assert_array_equal(picture, face[4])
    _check_red_is_upper_right_of_the_subject(found, 1)


def test_a_glb_comes_back_in_metres_with_its_texture_the_right_way_up(tmp_path, face):
    path = _save_face(tmp_path, 'face.glb', face)
    (found,) = trimesh.load_scene(path, process=False).geometry.values()
    np.testing.assert_allclose(found.vertices * 1000, face[0], atol=1e-4)
    np.testing.assert_array_equal(found.faces, face[1])
    np.testing.assert_allclose(found.visual.uv, face[3], atol=1e-7)
    np.testing.assert_array_equal(found.vertex_attributes['_CONFIDENCE'][:, 0], face[2])
    np.testing.assert_array_equal(np.asarray(found.visual.material.baseColorTexture), face[4])
    _check_red_is_upper_right_of_the_subject(found, 1000)
    header = _header_of_glb(path)
    assert header['asset']['extras'] == {'unit': 'metre', 'mm_per_unit': 1000.0}


def _check_red_is_upper_right_of_the_subject(mesh, mm_per_unit):
    # The texture's upper left is the subject's right forehead: -x, +y.
    colors = np.asarray(mesh.visual.to_color().vertex_colors)[:, :3]
    x, y, _ = (mesh.vertices * mm_per_unit).T
    assert (colors[(x < -10) & (y > 10)] == _RED).all()
    assert (colors[(x > 10) | (y < -10)] == _GREEN).all()


def test_a_glb_moves_from_keyframe_to_keyframe(tmp_path):
    moving = np.stack([_VERTICES, _VERTICES * [1, 1, 0] + [0, 0, 5.0]])
    animation = export.Animation(moving, np.array([0.0, 2.0]))
    path = tmp_path / 'face.glb'
    export.save(str(path), _VERTICES, _TRIANGLES, _CONFIDENCE, animation=animation)
    header = _header_of_glb(path)
    data = path.read_bytes()
    start = 20 + int.from_bytes(data[12:16], 'little') + 8

    def array(index):
        accessor = header['accessors'][index]
        view = header['bufferViews'][accessor['bufferView']]
        offset = start + view['byteOffset'] + accessor.get('byteOffset', 0)
        return np.frombuffer(data[offset : offset + view['byteLength']], '<f4')

    (mesh,), (animation,) = header['meshes'], header['animations']
    shifts = [
        array(target['POSITION']).reshape(-1, 3) for target in mesh['primitives'][0]['targets']
    ]
    np.testing.assert_allclose(shifts, [np.zeros((4, 3)), [[0, 0, 0.005]] * 4], atol=1e-9)
    (sampler,) = animation['samplers']
    np.testing.assert_array_equal(array(sampler['input']), [0, 2])
    np.testing.assert_array_equal(array(sampler['output']), [1, 0, 0, 1])
    target = animation['channels'][0]['target']
    assert target['path'] == 'weights' and header['nodes'][target['node']]['mesh'] == 0


def test_a_long_animation_keeps_its_ends(tmp_path):
    moving = np.linspace(0, 99, 100)[:, None, None] + np.zeros((100, 4, 3))
    animation = export.Animation(moving, np.arange(100) / 10)
    path = tmp_path / 'face.glb'
    export.save(str(path), np.zeros((4, 3)), _TRIANGLES, _CONFIDENCE, animation=animation)
    header = _header_of_glb(path)
    targets = header['meshes'][0]['primitives'][0]['targets']
    assert len(targets) == export.MAX_KEYFRAMES
    ends = [header['accessors'][targets[k]['POSITION']]['max'][0] for k in (0, -1)]
    np.testing.assert_allclose(ends, [0, 0.099], atol=1e-6)


@pytest.mark.parametrize('name', ['face.ply', 'face.obj', 'face.glb', 'face.npz'])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, name, monkeypatch):
    (tmp_path / name).write_bytes(b'old')

    def fail(*_):
        raise OSError('disk full')

    monkeypatch.setattr(export.os, 'replace', fail)
    with pytest.raises(OSError, match='disk full'):
        export.save(str(tmp_path / name), _VERTICES, _TRIANGLES, _CONFIDENCE)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b'old'


def test_an_unknown_ending_is_refused_with_the_legal_ones(tmp_path):
    with pytest.raises(UserError, match=r"'\.stl' is none of \.ply, \.obj, \.glb, \.npz"):
        _save(tmp_path, 'face.stl')


def test_quads_stay_quads_in_an_obj_and_its_topology_is_named(tmp_path):
    path = tmp_path / 'face.obj'
    quads = np.array([[0, 1, 2, 3]])
    export.save(str(path), _VERTICES, _TRIANGLES, _CONFIDENCE, quads=quads, topology='a square')
    lines = path.read_text().splitlines()
    assert lines[:2] == ['# unit: mm', '# topology: a square']
    assert lines[-1] == 'f 1//1 2//2 3//3 4//4'
    export.save(str(tmp_path / 'a.npz'), _VERTICES, _TRIANGLES, _CONFIDENCE, quads=quads)
    with np.load(tmp_path / 'a.npz') as found:
        np.testing.assert_array_equal(found['quads'], quads)


@pytest.mark.parametrize('name', ['face.ply', 'face.obj', 'face.glb'])
def test_a_read_face_is_wound_outwards_and_its_normals_point_out(tmp_path, face, name):
    path = _save_face(tmp_path, name, face)
    (found,) = trimesh.load_scene(path, process=False, maintain_order=True).geometry.values()
    outwards = found.face_normals @ [0, 0, 1.0]
    assert (
        outwards[np.abs(found.triangles_center[:, 0]) < np.ptp(found.vertices[:, 0]) / 5].min()
        > -0.7
    )
    assert (found.face_normals * found.triangles_center).sum(1).mean() > 0
    assert (found.vertex_normals * found.vertices).sum(1).mean() > 0


@pytest.mark.parametrize('ending', ['ply', 'obj', 'glb', 'npz'])
def test_every_file_says_what_became_of_the_light_in_its_texture(tmp_path, face, ending):
    path = _save_face(tmp_path, f'face.{ending}', face, texture_light='divided out')
    if ending == 'npz':
        with np.load(path) as file:
            assert str(file['texture_light']) == 'divided out'
    else:
        assert b'divided out' in path.read_bytes()
    if ending == 'obj':
        assert b'light: divided out' in (tmp_path / 'face_texture.png').read_bytes()
