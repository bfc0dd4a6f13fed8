import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from seqface_jax import checkpoints
from seqface_jax.geometry import rendering
from seqface_jax.reconstruction import export, flagship, rigged_glb
from tests.helpers import glb_file, small_fit

_NAMES = ['jawOpen', 'eyeBlinkLeft']


def _shifts(count):
    shifts = np.zeros((2, count, 3))
    shifts[0, :10] = [0, -3, 0]
    shifts[1, 5] = [0, 0, 1]
    return shifts


def _save(tmp_path, seconds=(0.0, 0.5), weights=((0.0, 1.0), (0.25, 0.5))):
    vertices, triangles, _ = small_fit.mesh()
    confidence = np.linspace(0.2, 0.9, len(vertices))
    uv = np.random.default_rng(0).random((len(vertices), 2))
    texture = np.full((8, 8, 3), 90, np.uint8)
    mesh = export.make_mesh(vertices, triangles, confidence, uv=uv, texture=texture, topology='T')
    path = str(tmp_path / 'face.glb')
    rigged_glb.save(path, mesh, _NAMES, _shifts(len(vertices)), seconds, np.array(weights))
    return path, mesh


def test_there_are_52_names_and_each_once():
    assert len(set(rigged_glb.ARKIT_NAMES)) == len(rigged_glb.ARKIT_NAMES) == 52


def test_each_morph_target_bears_its_name_and_moves_its_vertices_in_metres(tmp_path):
    path, mesh = _save(tmp_path)
    header, array = glb_file.read(path)
    (model,) = header['meshes']
    names = model['extras']['targetNames']
    targets = model['primitives'][0]['targets']
    assert names == list(rigged_glb.ARKIT_NAMES) and len(targets) == 52
    for name, shift in zip(_NAMES, _shifts(len(mesh.vertices)), strict=True):
        moved = array(targets[names.index(name)]['POSITION'], 3)
        np.testing.assert_allclose(moved, shift / 1000, atol=1e-9)
    assert not array(targets[names.index('tongueOut')]['POSITION'], 3).any()


def test_the_normals_of_a_target_are_those_of_the_moved_face(tmp_path):
    path, mesh = _save(tmp_path)
    header, array = glb_file.read(path)
    place = rigged_glb.ARKIT_NAMES.index('jawOpen')
    turn = array(header['meshes'][0]['primitives'][0]['targets'][place]['NORMAL'], 3)
    moved = mesh.vertices + _shifts(len(mesh.vertices))[0]
    expected = export.make_mesh(moved, mesh.triangles, mesh.confidence).normals
    np.testing.assert_allclose(mesh.normals + turn, expected, atol=0.011)


def test_the_weights_go_from_frame_to_frame(tmp_path):
    path, _ = _save(tmp_path)
    header, array = glb_file.read(path)
    (animation,) = header['animations']
    (sampler,) = animation['samplers']
    np.testing.assert_allclose(array(sampler['input'], 1)[:, 0], [0, 0.5])
    weights = array(sampler['output'], 1).reshape(2, 52)
    jaw, blink = (rigged_glb.ARKIT_NAMES.index(name) for name in _NAMES)
    np.testing.assert_allclose(weights[:, [jaw, blink]], [[0, 1], [0.25, 0.5]])
    assert weights.sum() == 1.75


def test_a_face_without_frames_stands_still(tmp_path):
    path, _ = _save(tmp_path, (), np.zeros((0, 2)))
    assert 'animations' not in glb_file.read(path)[0]


def test_another_program_reads_the_neutral_face_with_outward_normals(tmp_path):
    path, mesh = _save(tmp_path)
    (found,) = trimesh.load_scene(path, process=False).geometry.values()
    np.testing.assert_allclose(found.vertices * 1000, mesh.vertices, atol=1e-4)
    np.testing.assert_array_equal(found.faces, mesh.triangles)
    np.testing.assert_allclose(found.visual.uv, mesh.uv, atol=1e-6)
    np.testing.assert_allclose(found.vertex_normals, mesh.normals, atol=1e-5)
    outwards = (found.face_normals * found.triangles_center).sum(1) > 0
    assert outwards.mean() > 0.95  # Counter-clockwise from outside.
    assert glb_file.read(path)[0]['asset']['extras'] == {
        'unit': 'metre',
        'mm_per_unit': 1000.0,
        'topology': 'T',
    }


def test_the_template_is_wound_outwards_as_another_program_reads_it(tmp_path):
    geometry = flagship.read_geometry(flagship.geometry_path(checkpoints.pretrained()))
    vertices = geometry.eyes.joined(np.asarray(geometry.basis.mean))
    mesh = export.make_mesh(vertices, geometry.triangles, np.ones(len(vertices)), uv=geometry.uv)
    path = str(tmp_path / 'face.glb')
    rigged_glb.save(path, mesh, ['jawOpen'], np.zeros((1, *vertices.shape)), [], [])
    (found,) = trimesh.load_scene(path, process=False).geometry.values()
    assert found.is_winding_consistent
    # The stored normals are on the side from which the corners run counter-clockwise.
    stored = found.vertex_normals[found.faces].mean(1)
    assert ((stored * found.face_normals).sum(1) > 0).mean() > 0.999
    # What is seen from the front and from both sides looks at the viewer, all but specks. Of all
    # triangles a seventh looks inwards: linings of mouth, nose and eye sockets, the ears' backs.
    for azimuth in (-0.8, 0.0, 0.8):
        turn = Rotation.from_euler('y', azimuth).as_matrix()
        seen = found.vertices @ turn.T * 1000
        places = np.stack([100 + seen[:, 0], 100 - seen[:, 1]], 1)
        _, nearest, _ = rendering.fragments(places, seen[:, 2], found.faces, 200)
        assert len(nearest) > 5000
        assert ((found.face_normals @ turn.T)[nearest, 2] > 0).mean() > 0.97, azimuth


def test_a_name_that_arkit_does_not_know_is_refused(tmp_path):
    vertices, triangles, _ = small_fit.mesh()
    mesh = export.make_mesh(vertices, triangles, np.ones(len(vertices)))
    shifts = np.zeros((1, len(vertices), 3))
    with pytest.raises(ValueError, match='no blendshapes of ARKit: earWiggle'):
        rigged_glb.save(str(tmp_path / 'a.glb'), mesh, ['earWiggle'], shifts, [], np.zeros((0, 1)))
    with pytest.raises(ValueError, match='do not belong together'):
        rigged_glb.save(str(tmp_path / 'a.glb'), mesh, ['jawOpen'], shifts, [0.0], [])
