"""The synthetic raw tree: layout, truth, scans like raw scans, resuming."""

import dataclasses
import shutil

import cv2
import numpy as np
import open3d as o3d
import pytest

from data_prep import synthetic_raw
from data_prep.scans import scan_io
from data_prep.scans.ray_scene import ray_scene
from data_prep.synthetic import appearance, expressions, scanner, studio
from data_prep.synthetic.embedded_face import face_model
from data_prep.synthetic.person import Person, rotation_matrix
from seqface_jax.errors import UserError

_SETTINGS = synthetic_raw.Settings(frames=3, seed=1, scan_vertices=3000, photo_height=174)


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp('raw')
    synthetic_raw.write(folder, 2, 1, _SETTINGS)
    return folder


def _contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and path.suffix != '.npz'
    }


def test_the_layout_is_that_of_bu4dfe(tree):
    expected = {
        f'{subject}/{sequence}/{frame:03d}.{kind}'
        for subject in ('F001', 'M001')
        for sequence in expressions.NAMES
        for frame in range(3)
        for kind in ('wrl', 'jpg')
    }
    assert set(_contents(tree)) == expected
    assert sorted(path.name for path in (tree / 'truth').iterdir()) == ['F001.npz', 'M001.npz']


def test_ids_alternate_and_leave_out_the_five_that_are_missing():
    ids = synthetic_raw.subject_ids(100)
    assert ids[:4] == ['F001', 'M001', 'F002', 'M002']
    assert not {'F027', 'F031'} & set(ids)
    first = ids[:96]
    assert sum(name[0] == 'F' for name in first) == 53 and 'F058' in first and 'M043' in first
    assert ids[96:] == ['F059', 'M044', 'F060', 'M045']
    assert len(set(ids)) == 100


def test_photos_are_portrait_and_scans_have_texture_coordinates(tree):
    photo = cv2.imread(str(tree / 'F001' / 'Happy' / '001.jpg'))
    scan = scan_io.read_scan(tree / 'F001' / 'Happy' / '001.wrl')
    assert photo.shape == (174, 130, 3)
    assert scan.texture == '001.jpg'
    assert scan.uv.shape == (len(scan.vertices), 2)
    assert scan.uv.min() >= 0.0 and scan.uv.max() <= 1.0
    assert 0.7 < len(scan.vertices) / 3000 < 1.4


def test_texture_coordinates_point_at_the_face_in_the_photo(tree):
    scan = scan_io.read_scan(tree / 'M001' / 'Sad' / '000.wrl')
    with np.load(tree / 'truth' / 'M001.npz') as truth:
        row = np.flatnonzero((truth['sequences'] == 'Sad') & (truth['frames'] == 0))[0]
        eyes = truth['vertices'][
            [face_model().landmarks[f'{s}_eye_outer'] for s in ('left', 'right')]
        ]
        left, right = eyes @ truth['rotations'][row].T + truth['translations'][row]
    nearest = [np.argmin(np.linalg.norm(scan.vertices - eye, axis=1)) for eye in (left, right)]
    u, v = scan.uv[nearest].T
    assert u[0] > u[1]  # The subject's left is on the photo's right.
    assert 0.2 < u[1] and u[0] < 0.8
    assert 0.4 < v.min() and v.max() < 0.75  # Above the middle or near it: v points up.


def test_vertices_differ_from_frame_to_frame(tree):
    first = scan_io.read_scan(tree / 'F001' / 'Sad' / '000.wrl')
    last = scan_io.read_scan(tree / 'F001' / 'Sad' / '002.wrl')
    assert first.vertices.shape != last.vertices.shape or not np.allclose(
        first.vertices, last.vertices, atol=0.5
    )


def test_first_and_last_frame_of_every_sequence_are_neutral(tree):
    with np.load(tree / 'truth' / 'F001.npz') as truth:
        ends = np.isin(truth['frames'], (0, 2))
        np.testing.assert_array_equal(truth['expression_weights'][ends], 0.0)
        assert (truth['expression_weights'][~ends].max(axis=1) > 0.3).all()


def test_scans_have_stray_vertices_and_edges_with_three_faces(tree):
    scan = scan_io.read_scan(tree / 'F001' / 'Angry' / '000.wrl')
    assert len(np.unique(scan.triangles)) < len(scan.vertices)
    edges = np.sort(scan.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert np.unique(edges, axis=0, return_counts=True)[1].max() > 2


def test_the_truth_lies_on_the_scan_under_the_stored_pose():
    rng = np.random.default_rng(2)
    looks = appearance.sample_appearance(rng, 'F')
    person = Person(face_model().sample_identity(rng, 'F'), looks)
    photo_camera = studio.studio_camera(348, rng)
    recording = scanner.sample_scanner(30000, looks.scanned_extras, rng)
    rotation, translation = np.eye(3), np.array([2.0, -3.0, 4.0])
    surface = person.surface(np.zeros(6), 0.0, rotation, translation)
    scene = ray_scene(surface, person.triangles)
    raw = scanner.scan(
        person, scene, surface, rotation, translation, recording, photo_camera, '000.jpg', rng
    )
    assert 25_000 <= len(raw.vertices) <= 40_000
    model = person.model
    tip = person.neutral[model.landmarks['nose_tip']]
    frontal = model.outside & (np.linalg.norm(person.neutral - tip, axis=1) < 60.0)
    moved = person.neutral[frontal] + translation + recording.offset
    scan_scene = o3d.t.geometry.RaycastingScene()
    scan_scene.add_triangles(
        o3d.core.Tensor(raw.vertices), o3d.core.Tensor(raw.triangles.astype(np.uint32))
    )
    distance = scan_scene.compute_distance(o3d.core.Tensor(moved.astype(np.float32))).numpy()
    seen = distance < 2.0  # The rest lies in holes or behind other parts.
    assert seen.mean() > 0.9
    assert distance[seen].mean() < 0.3


@pytest.mark.slow
def test_the_tree_is_the_same_for_any_number_of_workers(tmp_path):
    settings = dataclasses.replace(_SETTINGS, frames=2, sequences=2, photo_height=100)
    for workers in (1, 2):
        synthetic_raw.write(tmp_path / str(workers), 2, workers, settings)
    assert _contents(tmp_path / '1') == _contents(tmp_path / '2')
    for name in ('F001', 'M001'):
        with np.load(tmp_path / '1' / 'truth' / f'{name}.npz') as one:
            with np.load(tmp_path / '2' / 'truth' / f'{name}.npz') as two:
                for key in one.files:
                    np.testing.assert_array_equal(one[key], two[key])


def test_writing_again_keeps_complete_people_and_mends_the_others(tree):
    before = _contents(tree)
    kept = (tree / 'F001' / 'Fear' / '000.wrl').stat().st_mtime_ns
    (tree / 'truth' / 'M001.npz').unlink()
    (tree / 'M001' / 'Fear' / '000.wrl').unlink()
    synthetic_raw.write(tree, 2, 1, _SETTINGS)
    assert _contents(tree) == before
    assert (tree / 'F001' / 'Fear' / '000.wrl').stat().st_mtime_ns == kept


def test_a_tree_with_other_settings_is_refused(tree):
    with pytest.raises(UserError, match='other frames'):
        synthetic_raw.write(tree, 2, 1, dataclasses.replace(_SETTINGS, frames=4))


def test_neutral_scans_are_those_of_the_first_frames_and_the_second_frame_is_the_apex(tmp_path):
    settings = dataclasses.replace(
        _SETTINGS, frames=2, scans='neutral', test_frames=1, turn_deg=70, photo_height=100
    )
    synthetic_raw.write(tmp_path, 1, 1, settings)
    scans = [path for path in _contents(tmp_path) if path.endswith('.wrl')]
    assert sorted(scans) == [f'F001/{name}/000.wrl' for name in expressions.NAMES]
    with np.load(tmp_path / 'truth' / 'F001.npz') as truth:  # F001 is no test person.
        assert len(truth['frames']) == 12
        strength = truth['expression_weights'].max(axis=1).reshape(6, 2)
        yaw = np.degrees(np.arctan2(truth['rotations'][:, 0, 2], truth['rotations'][:, 2, 2]))
    assert (strength[:, 0] == 0.0).all() and (strength[:, 1] > 0.5).all()
    assert np.abs(yaw[::2]).max() < 35.0 + 11.0  # Half of the turn, and the small sway.


def test_people_of_the_test_split_have_their_own_number_of_frames():
    settings = dataclasses.replace(_SETTINGS, frames=2, test_frames=43)
    counts = [settings.frames_of(split) for split in ('train', 'validation', 'test')]
    assert counts == [2, 2, 43]
    assert _SETTINGS.frames_of('test') == 3


def test_more_people_of_one_split_join_a_tree_with_fewer_sequences_and_stranger_faces(tree):
    before = _contents(tree)
    more = dataclasses.replace(
        _SETTINGS, frames=1, photo_height=100, sequences=2, spread=2.0, deform_mm=2.0
    )
    # F002, M002, F003 (test), M003 (test), F004 (validation): two of them are to train on.
    synthetic_raw.write(tree, 7, 1, more, first=3, only_split='train')
    written = {path for path in _contents(tree) if path not in before}
    try:
        assert {path.split('/')[0] for path in written} == {'F002', 'M002'}
        assert {path: data for path, data in _contents(tree).items() if path in before} == before
        for name in ('F002', 'M002'):
            sequences = {path.split('/')[1] for path in written if path.startswith(name)}
            assert len(sequences) == 2 and sequences < set(expressions.NAMES)
            with np.load(tree / 'truth' / f'{name}.npz') as truth:
                assert set(truth['sequences']) == sequences
                wide, vertices = truth['identity'], truth['vertices']
            rng = np.random.default_rng([_SETTINGS.seed, 'FM'.index(name[0]), int(name[1:])])
            appearance.sample_appearance(rng, name[0])
            np.testing.assert_allclose(wide, 2 * face_model().sample_identity(rng, name[0]))
            moved = vertices - face_model().neutral(wide)
            assert 1.0 < np.sqrt((moved**2).mean()) < 4.0
    finally:  # Other tests know what is in the tree.
        for name in {path.split('/')[0] for path in written}:
            shutil.rmtree(tree / name)
            (tree / 'truth' / f'{name}.npz').unlink()


def test_a_scanner_that_turns_along_sees_both_cheeks_of_a_turned_head():
    rng = np.random.default_rng(2)
    looks = appearance.sample_appearance(rng, 'F')
    person = Person(face_model().sample_identity(rng, 'F'), looks, fine=False)
    rotation = rotation_matrix(np.radians(70.0), 0.0, 0.0)
    surface = person.surface(np.zeros(6), 0.0, rotation, np.zeros(3))
    scene = ray_scene(surface, person.triangles)
    photo_camera = studio.studio_camera(348, rng)
    shares = []
    for along in (False, True):
        recording = scanner.sample_scanner(4000, False, rng, turns_along=along)
        raw = scanner.scan(
            person, scene, surface, rotation, np.zeros(3), recording, photo_camera, 'x.jpg', rng
        )
        local = (raw.vertices - recording.offset) @ rotation
        front = local[(np.abs(local[:, 1]) < 40.0) & (local[:, 2] > 20.0)]
        left = (front[:, 0] > 15.0).mean()
        shares.append(min(left, (front[:, 0] < -15.0).mean()))
    assert shares[0] < 0.12 and shares[1] > 0.2


def test_a_damaged_truth_is_named_and_nothing_is_to_be_removed(tmp_path):
    (tmp_path / 'F001.npz').write_bytes(b'PK\x03\x04 cut')
    with pytest.raises(UserError, match=r'F001.npz: .*is damaged; choose another --out_dir\.$'):
        synthetic_raw._check_settings(tmp_path / 'F001.npz', _SETTINGS)
