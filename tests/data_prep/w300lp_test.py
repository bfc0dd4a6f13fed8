"""300W-LP: parameters of a face model to scans that lie where the photo shows them."""

import numpy as np
import pytest
from scipy import io

from data_prep import frame_scans, prepare, sources
from data_prep.sources import RawFrame, morphable_model
from seqface_jax.errors import UserError
from tests.helpers import small_source_trees

FIRST, SECOND = np.eye(small_source_trees.SHAPES)[:2]


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    raw_dir = tmp_path_factory.mktemp('w300lp')
    small_source_trees.write_face_model(raw_dir)
    write = small_source_trees.write_view
    write(raw_dir, 'AFW', 'AFW_1_1_0', FIRST)
    write(raw_dir, 'AFW', 'AFW_1_1_1', FIRST, (0.5, 0), (5, -30, 0))
    write(raw_dir, 'AFW_Flip', 'AFW_1_1_0', SECOND)
    write(raw_dir, 'LFPW', 'LFPW_image_test_0001_0', SECOND)
    (raw_dir / 'LFPW/LFPW_image_test_0001_0.mat').write_bytes(b'no parameters')
    (raw_dir / 'Code').mkdir()
    return raw_dir


def _frame(tree, view, sequence='views', photo=True):
    path = tree / 'AFW' / f'AFW_1_1_{view}'
    return RawFrame('AFW_1_1', sequence, view, f'{path}.jpg' if photo else None, f'{path}.mat')


def test_a_subject_is_one_face_of_one_photo_and_its_mirror_image_shares_its_split(tree):
    source = sources.open_source('w300lp', str(tree))
    subjects = source.subjects()
    assert [subject.id for subject in subjects] == [
        'AFW_1_1',
        'AFW_1_1_Flip',
        'LFPW_image_test_0001',
    ]
    found = [(f.sequence, f.index, bool(f.image_path)) for f in subjects[0].frames]
    assert found == [('neutral', 0, False), ('views', 0, True), ('views', 1, True)]
    assert source.neutral('AFW_1_1') == ('neutral', 0)
    assert source.split('AFW_1_1') == source.split('AFW_1_1_Flip')
    assert source.missing == ['HELEN', 'IBUG', 'HELEN_Flip', 'IBUG_Flip', 'LFPW_Flip']


def test_the_neutral_scan_is_the_shape_alone_in_mm(tree):
    scan = sources.read_scan(_frame(tree, 1, morphable_model.NEUTRAL, photo=False))
    person = small_source_trees.person(1)
    np.testing.assert_allclose(scan.vertices, person.vertices, atol=1e-3)
    np.testing.assert_array_equal(scan.triangles, person.triangles)
    assert scan.uv is None


def test_the_rotation_is_that_of_3ddfa():
    # Yaw of +90 degrees: R e_z = (-1, 0, 0), the nose points to the left side of the photo.
    turned = morphable_model.rotation(np.radians([0, 90, 0])) @ [0, 0, 1]
    np.testing.assert_allclose(turned, [-1, 0, 0], atol=1e-12)
    # Pitch of +90 degrees: R e_z = (0, 1, 0), the face looks up; roll: R e_x = (0, -1, 0).
    turned = morphable_model.rotation(np.radians([90, 0, 0])) @ [0, 0, 1]
    np.testing.assert_allclose(turned, [0, 1, 0], atol=1e-12)
    turned = morphable_model.rotation(np.radians([0, 0, 90])) @ [1, 0, 0]
    np.testing.assert_allclose(turned, [0, -1, 0], atol=1e-12)


def test_a_view_has_its_expression_its_turn_and_its_places_in_the_photo(tree):
    scan = sources.read_scan(_frame(tree, 1))
    neutral = small_source_trees.person(1).vertices
    turn = morphable_model.rotation(np.radians([5, -30, 0]))
    smiling = scan.vertices @ turn  # Turned back.
    moved = np.linalg.norm(smiling - neutral, axis=1)
    assert 1 < moved.max() < 30 and np.median(moved) < 1
    size = small_source_trees.PHOTO
    scale = small_source_trees.RADIUS / small_source_trees.RADIUS_MM
    expected = size / 2 + scale * scan.vertices[:, :2] * [1, -1]  # x right, y down, pixels.
    np.testing.assert_allclose(scan.uv * [size, -size] + [0, size], expected, atol=0.01)


def test_it_is_prepared_and_a_view_whose_parameters_are_broken_is_listed(
    registered_roughly, tree, tmp_path
):
    report, _ = prepare.prepare('w300lp', str(tree), str(tmp_path), with_maps=True)
    assert set(report['subjects']) == {'AFW_1_1', 'AFW_1_1_Flip'}
    assert sum(count['frames'] for count in report['counts'].values()) == 3
    assert report['subjects']['AFW_1_1']['neutral'] == ['neutral', 0]
    why = {entry['where']: entry['why'] for entry in report['skipped']}
    assert 'none of its scans could be used' in why['LFPW_image_test_0001']
    assert not [where for where in why if '/AFW' in where]  # Every view has its map.
    (path,) = (tmp_path / '.work/w300lp').glob('AFW_1_1.*.maps.npz')
    pose, _ = frame_scans.load(path)[1]
    facing = pose.rotation @ [0, 0, 1]
    assert np.degrees(np.arctan2(facing[0], facing[2])) == pytest.approx(30, abs=2)


def test_without_the_model_of_the_user_one_sentence_says_where_it_comes_from(tree, tmp_path):
    small_source_trees.write_view(tmp_path, 'HELEN', 'HELEN_1_1_0', FIRST)
    sentence = r'Basel Face Model 2009, .*: put BFM.mat .* or Model_Shape.mat and Model_Exp.mat'
    with pytest.raises(UserError, match=sentence):
        sources.open_source('w300lp', str(tmp_path))


def test_the_model_of_3ddfa_gives_the_same_scan(tree, tmp_path):
    arrays = io.loadmat(tree / 'BFM.mat')['model'][0, 0]
    shape = {'mu_shape': arrays['shapeMU'], 'w': arrays['shapePC'], 'tri': arrays['tri']}
    io.savemat(tmp_path / 'Model_Shape.mat', shape)
    expression = {'mu_exp': arrays['expMU'], 'w_exp': arrays['expPC']}
    io.savemat(tmp_path / 'Model_Exp.mat', expression)
    small_source_trees.write_view(tmp_path, 'AFW', 'AFW_1_1_1', FIRST, (0.5, 0), (5, -30, 0))
    scan, other = (sources.read_scan(_frame(folder, 1)) for folder in (tree, tmp_path))
    np.testing.assert_array_equal(scan.vertices, other.vertices)


@pytest.mark.parametrize(
    ('arrays', 'sentence'),
    [
        ({}, 'holds no Shape_Para'),
        ({'Shape_Para': np.zeros(199)}, r'another face model \(199 shapes, not 4\)'),
        ({'Shape_Para': np.full(4, np.nan)}, 'not finite'),
    ],
)
def test_parameters_of_something_else_are_told(tree, tmp_path, arrays, sentence):
    (tmp_path / 'BFM.mat').symlink_to(tree / 'BFM.mat')
    (tmp_path / 'AFW').mkdir()
    rest = {'Exp_Para': np.zeros(2), 'Pose_Para': np.zeros(7)} if arrays else {}
    io.savemat(tmp_path / 'AFW/AFW_1_1_0.mat', arrays | rest)
    with pytest.raises(UserError, match=sentence):
        sources.read_scan(_frame(tmp_path, 0, photo=False))
