import pathlib

import numpy as np
import pytest
import trimesh

from data_prep.package_files import template_head
from seqface_jax import checkpoints
from seqface_jax.reconstruction import flagship, full_head, rigged_glb
from seqface_jax.reconstruction.face import Face
from tests.helpers import glb_file


@pytest.fixture(scope='module')
def geometry():
    return flagship.read_geometry(flagship.geometry_path(checkpoints.pretrained()))


@pytest.fixture(scope='module')
def face(geometry):
    vertices = geometry.eyes.joined(np.asarray(geometry.basis.mean)).astype(np.float32)
    texture = np.full((16, 16, 3), 120, np.uint8)
    band = np.full(len(vertices), 0.5, np.float32)
    return Face(
        vertices,
        geometry.triangles,
        band,
        uv=geometry.uv,
        texture=texture,
        topology=full_head.TOPOLOGY,
    )


def _save(tmp_path, geometry, face, *movement):
    names, shifts = geometry.blendshape_names, geometry.blendshapes
    return full_head.save(str(tmp_path), face, names, shifts, *movement)


def test_the_mean_face_gets_the_mean_head(face):
    own = full_head.mean_head()
    np.testing.assert_allclose(own.face, face.vertices[: full_head.NUM_FACE], atol=2e-3)
    np.testing.assert_allclose(full_head.guess(own, own.face), own.vertices, atol=1e-3)


def test_a_larger_turned_face_carries_the_head_along():
    own = full_head.mean_head()
    turn = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    moved = full_head.guess(own, 1.1 * own.face @ turn.T + [1.0, 2.0, 3.0])
    np.testing.assert_allclose(moved, 1.1 * own.vertices @ turn.T + [1.0, 2.0, 3.0], atol=1e-3)


def test_head_and_face_meet_without_a_step():
    own = full_head.mean_head()
    wide = own.face * [1.12, 1.0, 0.95]
    before, after = (
        np.concatenate(pair)
        for pair in ((own.face, own.vertices), (wide, full_head.guess(own, wide)))
    )
    seam = own.triangles[(own.triangles < full_head.NUM_FACE).any(1)].astype(int)
    edges = np.linalg.norm(before[seam] - before[np.roll(seam, 1, 1)], axis=2)
    stretched = np.linalg.norm(after[seam] - after[np.roll(seam, 1, 1)], axis=2)
    assert len(seam) > 100
    assert np.abs(stretched - edges).mean() < 1.5  # A step would be as wide as the face grew, 5 mm.


def test_the_files_hold_one_wound_surface_and_say_what_is_guessed(geometry, face, tmp_path):
    paths = _save(tmp_path, geometry, face)
    assert [path.rsplit('/')[-1] for path in paths] == list(full_head.FILES)
    whole = full_head.with_head(face)
    (mesh,) = trimesh.load_scene(paths[0], process=False).geometry.values()
    assert len(mesh.vertices) == len(whole.vertices) > len(face.vertices)
    assert mesh.is_winding_consistent
    assert np.ptp(mesh.vertices[:, 2]) > 0.17  # Metres, from the nose to the back of the head.
    first = len(face.vertices)
    for path in paths[1:]:
        text = pathlib.Path(path).read_bytes()[:400].decode(errors='replace')
        assert (
            f'vertices {first} to {len(whole.vertices) - 1}, the rest of the head, are guessed'
            in text
        )


def test_the_glb_has_arkits_morph_targets_that_move_the_guess_and_the_eyes_too(
    geometry, face, tmp_path
):
    weights = np.zeros((2, len(geometry.blendshape_names)))
    weights[1, geometry.blendshape_names.index('jawForward')] = 0.5
    header, array = glb_file.read(_save(tmp_path, geometry, face, (0.0, 0.5), weights)[0])
    (model,), (animation,) = header['meshes'], header['animations']
    names, targets = model['extras']['targetNames'], model['primitives'][0]['targets']
    assert names == list(rigged_glb.ARKIT_NAMES)
    moved = [array(target['POSITION'], 3) * 1000 for target in targets]  # mm.
    rim = full_head.mean_head().triangles
    rim = rim[(rim < full_head.NUM_FACE).any(1) & (rim >= full_head.NUM_FACE).any(1)].astype(int)
    rim = np.where(rim < full_head.NUM_FACE, rim, rim + len(face.vertices) - full_head.NUM_FACE)
    jaw = moved[names.index('jawForward')]
    assert np.abs(jaw[len(face.vertices) :]).max() > 1
    # Neighbours across the seam go together: none opens.
    edges = np.linalg.norm(jaw[rim] - jaw[np.roll(rim, 1, 1)], axis=2)
    assert edges.max() < 0.75 and np.abs(jaw[rim]).max() > 1
    eyes = slice(full_head.NUM_FACE, len(face.vertices))
    assert np.abs(moved[names.index('eyeLookInLeft')][eyes]).max() > 4
    output = array(animation['samplers'][0]['output'], 1).reshape(2, -1)
    assert output[1, names.index('jawForward')] == 0.5 and output.sum() == 0.5


def test_a_head_without_frames_has_morph_targets_and_stands_still(geometry, face, tmp_path):
    header, _ = glb_file.read(_save(tmp_path, geometry, face)[0])
    assert 'animations' not in header
    assert len(header['meshes'][0]['primitives'][0]['targets']) == 52


def test_a_guess_says_that_it_is_worth_less_than_what_was_seen(face):
    whole = full_head.with_head(face)
    guessed = whole.confidence[len(face.vertices) :]
    assert guessed.max() < face.confidence.min()  # Every point of the face is +- 1 mm.
    assert (1 / guessed - 1).mean() > 2  # Millimetres.
    np.testing.assert_array_equal(whole.vertices[: len(face.vertices)], face.vertices)


def test_the_deviation_is_that_of_heads_which_the_face_does_not_tell():
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 50, (template_head.NUM_SKIN, 3))
    triangles = np.array([[0, 1, template_head.NUM_FACE], [2, 3, 4]])
    names, shifts = (
        ['jawOpen', 'browInnerUp_L', 'browInnerUp_R'],
        rng.normal(0, 1, (3, *mean.shape)),
    )
    own = template_head.build(mean, triangles, names, shifts)
    assert own.blendshape_names.tolist() == ['jawOpen', 'browInnerUp']
    both = shifts[1:, template_head.NUM_FACE :].sum(0)  # Both sides are one blendshape of ARKit's.
    np.testing.assert_allclose(own.blendshapes[1], both, rtol=1e-3, atol=1e-3)
    assert own.triangles.tolist() == [[0, 1, template_head.NUM_FACE]]
    heads = np.stack([mean, mean])
    heads[:, template_head.NUM_FACE :] += np.array([3.0, -3.0])[:, None, None] * [1, 0, 0]
    np.testing.assert_allclose(template_head.deviation_mm(own, heads), 3.0, atol=0.01)
