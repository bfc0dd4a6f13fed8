import dataclasses
import pathlib

import numpy as np
import pytest
import trimesh
from scipy import ndimage

from seqface_jax import checkpoints
from seqface_jax.geometry import quadrilaterals, rendering
from seqface_jax.reconstruction import export, flagship, full_head, mouth
from seqface_jax.reconstruction.face import Face
from tests.helpers import glb_file, small_fit

_WINDOW_PX, _WINDOW_MM = 80, 80.0


@pytest.fixture(scope='module')
def geometry():
    return flagship.read_geometry(flagship.geometry_path(checkpoints.pretrained()))


@pytest.fixture(scope='module')
def rest(geometry):
    """Returns the vertices of the mean face with its eyes, without the inside of the mouth."""
    return geometry.eyes.joined(np.asarray(geometry.basis.mean))


@pytest.fixture(scope='module')
def face(geometry, rest):
    return Face(
        rest.astype(np.float32),
        geometry.triangles,
        np.full(len(rest), 0.5, np.float32),
        uv=geometry.uv,
        texture=np.full((64, 64, 3), 120, np.uint8),
        quads=quadrilaterals.joined(geometry.triangles),
        topology=full_head.TOPOLOGY,
        mouth=geometry.mouth,
    )


def _num_missed(vertices, triangles, middle, yaw_rad):
    """Returns how many rays about the mouth, enclosed by rays that meet the face, meet nothing."""
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    seen = (vertices - middle) @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]).T
    screen = _WINDOW_PX / 2 + _WINDOW_PX / _WINDOW_MM * seen[:, :2] * [1, -1]
    near = (np.abs(screen - _WINDOW_PX / 2) < _WINDOW_PX)[triangles].all((1, 2))
    pixel, _, _ = rendering.fragments(screen, seen[:, 2], triangles[near], _WINDOW_PX)
    met = np.zeros(_WINDOW_PX**2, bool)
    met[pixel] = True
    met = met.reshape(_WINDOW_PX, _WINDOW_PX)
    return int((ndimage.binary_fill_holes(met) & ~met).sum())


def test_what_looks_between_the_lips_meets_the_mouth_in_every_expression(geometry, rest):
    own = geometry.mouth
    triangles = np.concatenate([geometry.triangles, own.triangles])
    shifts = own.moved(geometry.blendshapes)
    middle = rest[own.inner].mean(0)
    for name, shift in zip(geometry.blendshape_names, shifts, strict=True):
        if name.startswith(('jaw', 'mouth')):
            moved = own.joined(rest) + shift
            assert _num_missed(moved, triangles, middle, -0.4) == 0, name
    for name, least in (('jawOpen', 300), ('mouthFunnel', 20)):  # Without it, the wall shows.
        moved = rest + geometry.blendshapes[geometry.blendshape_names.index(name)]
        assert _num_missed(moved, geometry.triangles, middle, 0.0) > least


def test_the_mouth_is_closed_and_wound_as_the_face_is(geometry, rest):
    own = geometry.mouth
    triangles = np.concatenate([geometry.triangles, own.triangles]).astype(np.int64)
    edges = np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    codes, counts = np.unique(edges @ [len(rest) * 2, 1], return_counts=True)
    assert counts.max() == 1  # No two triangles go along an edge in one direction.
    assert len(quadrilaterals.joined(own.triangles)) == len(own.triangles) // 2 - 37
    single = edges[~np.isin(edges @ [len(rest) * 2, 1], edges @ [1, len(rest) * 2])]
    assert not np.isin(own.loop, single).any()
    assert (single < len(rest)).all() and len(codes) == len(edges)


def test_the_mouth_goes_along_with_its_lips(geometry, rest):
    own, shift = geometry.mouth, np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(own.joined(rest + shift), own.joined(rest) + shift, atol=1e-4)
    jaw = geometry.blendshapes[geometry.blendshape_names.index('jawOpen')]
    together = own.joined(rest + jaw) - own.joined(rest)
    np.testing.assert_allclose(own.moved(jaw), together, atol=1e-4)
    assert np.abs(together[len(rest) :]).max() > 5
    assert own.opening(rest + jaw) > own.opening(rest) + 10


def test_the_measured_face_stays_and_files_have_the_mouth_last(face, tmp_path):
    closed, count = mouth.closed(face), len(face.vertices)
    np.testing.assert_array_equal(closed.vertices[:count], face.vertices)
    np.testing.assert_array_equal(closed.triangles[: len(face.triangles)], face.triangles)
    assert closed.confidence[count:].max() < 0.5  # A guess is worth less than what was seen.
    assert mouth.closed(closed) is closed
    moving = np.stack([face.vertices, face.vertices + 1])
    for name in ('a.glb', 'a.obj', 'a.ply', 'a.npz'):
        face.save(str(tmp_path / name))
    face.save(str(tmp_path / 'b.glb'), export.Animation(moving, np.array([0.0, 1.0])))
    assert len(np.load(tmp_path / 'a.npz')['vertices']) == count
    note = f'vertices {count} to {len(closed.vertices) - 1}, the inside of the mouth, are guessed'
    for name in ('a.obj', 'a.ply'):
        assert note in (tmp_path / name).read_bytes()[:400].decode(errors='replace')
        assert len(trimesh.load(tmp_path / name, process=False).vertices) >= len(closed.vertices)
    header, array = glb_file.read(str(tmp_path / 'b.glb'))
    (primitive,) = header['meshes'][0]['primitives']
    placed = 1000 * array(primitive['attributes']['POSITION'], 3)
    np.testing.assert_allclose(placed, closed.vertices, atol=1e-3)
    np.testing.assert_allclose(1000 * array(primitive['targets'][1]['POSITION'], 3), 1, atol=1e-3)


def _dark_in(path):
    """Returns which vertices of a .ply, .obj or .glb are dark; None if it colours none."""
    if path.endswith('.glb'):
        header, array = glb_file.read(path)
        (primitive,) = header['meshes'][0]['primitives']
        place = primitive['attributes'].get('COLOR_0')
        return None if place is None else array(place, 3).max(1) < 0.1
    if path.endswith('.obj'):  # The other reader drops colours beside texture coordinates.
        lines = pathlib.Path(path).read_text().splitlines()
        rows = [line.split() for line in lines if line.startswith('v ')]
        return np.array(rows)[:, 4:].astype(float).max(1) < 0.28
    return trimesh.load(path, process=False).visual.vertex_colors[:, :3].max(1) < 70


def test_the_mouth_alone_is_dark_in_files_without_a_texture(geometry, face, tmp_path):
    own, count = geometry.mouth, len(face.vertices)
    plain = dataclasses.replace(face, texture=None)
    inside = list(range(count, count + len(own.depths)))
    paths = [str(tmp_path / f'face.{ending}') for ending in ('ply', 'obj', 'glb')]
    for path in paths:
        plain.save(path)
    names, shifts = geometry.blendshape_names, own.moved(geometry.blendshapes)
    paths += full_head.save(str(tmp_path), mouth.closed(plain), names, shifts)
    for path in paths:
        assert np.flatnonzero(_dark_in(path)).tolist() == inside, path
    face.save(str(tmp_path / 'textured.glb'))
    assert _dark_in(str(tmp_path / 'textured.glb')) is None  # The texture is dark itself.


def test_the_texture_is_dark_inside_the_mouth_only(geometry):
    picture = np.full((512, 512, 3), (200, 120, 100), np.uint8)
    loop = geometry.uv[geometry.mouth.loop]
    made = mouth.darkened(picture, loop)
    changed = (made != picture).any(-1)
    column, row = (loop * [1, -1] + [0, 1]).T * 512
    assert changed[int(row.mean()), int(column.mean())]
    assert made[changed].max() < 60
    rows, columns = np.nonzero(changed)
    assert rows.min() > row.min() - 1.5 and rows.max() < row.max() + 0.5
    assert columns.min() > column.min() - 1.5 and columns.max() < column.max() + 0.5
    assert changed.sum() > 300


def test_a_topology_without_a_hole_between_the_lips_has_no_mouth():
    vertices, triangles, landmarks = small_fit.mesh()
    assert mouth.make(triangles, vertices, landmarks) is None
    face = Face(vertices, triangles, np.ones(len(vertices), np.float32))
    assert mouth.closed(face) is face
    assert mouth.closed(dataclasses.replace(face, topology='T')).topology == 'T'
