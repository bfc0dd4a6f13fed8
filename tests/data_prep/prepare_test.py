"""Raw trees to records. The trees are small and drawn; see small_raw_tree."""

import errno
import json
import os
import shutil
import signal
import sys

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_prep import preparation_inputs, preparation_report, prepare, records, subject
from data_prep.registration import canonical, icp, pose_outliers, scan_motion
from data_prep.scans import scan_io
from data_prep.work import work_files
from seqface_jax.errors import UserError
from tests import conftest
from tests.helpers import forked_commands, small_raw_tree

_SHIPPED_VOXEL_MM = icp._VOXEL_MM


def _prepare(raw_dir, data_dir, **options):
    return prepare.prepare('bu4dfe', str(raw_dir), str(data_dir), **options)


def _read(data_dir, part, split):
    import tensorflow_datasets as tfds

    folder = os.path.join(data_dir, 'bu4dfe', part, records.VERSION)
    return list(tfds.builder_from_directory(folder).as_data_source(split))


def _digest(data_dir):
    """Returns a digest of what the records of every split hold."""
    return work_files.key_of(
        *(
            str(row[name]).encode() if np.ndim(row[name]) == 0 else np.asarray(row[name])
            for part in ('frames', 'subjects')
            for split in ('train', 'validation', 'test')
            for row in _read(data_dir, part, split)
            for name in sorted(row)
        )
    )


@pytest.fixture(scope='module', autouse=True)
def quick_registration():
    """Registers roughly, and each scan once, however many tests prepare it.

    The accuracy is not tested here. Processes of their own register anew, as shipped.
    """
    register, found = canonical.register, {}

    def register_once(scan, template):
        key = icp._VOXEL_MM, scan.vertices.tobytes(), scan.triangles.tobytes()
        if key not in found:
            found[key] = register(scan, template)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        conftest.rough_registration(patch)
        patch.setattr(canonical, 'register', register_once)
        yield


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """One subject for each split, six expressions of three frames."""
    raw_dir = tmp_path_factory.mktemp('raw')
    small_raw_tree.write(raw_dir, ('F001', 'F003', 'F004'))
    return raw_dir


@pytest.fixture(scope='module')
def prepared(tree, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp('data')
    report, up_to_date = _prepare(tree, data_dir)
    assert not up_to_date
    return data_dir, report


@pytest.fixture
def copy_of_tree(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / 'raw')


def test_every_frame_and_subject_of_the_tree_is_in_the_records(prepared):
    data_dir, report = prepared
    assert report['counts'] == {
        split: {'subjects': 1, 'frames': 18} for split in ('train', 'validation', 'test')
    }
    assert report['skipped'] == []
    assert report['missing'] == ['F002']
    assert [row['subject'] for row in _read(data_dir, 'subjects', 'test')] == [b'F003']
    frames = _read(data_dir, 'frames', 'validation')
    assert [(row['sequence'], row['frame']) for row in frames[:4]] == [
        (b'Angry', 0),
        (b'Angry', 1),
        (b'Angry', 2),
        (b'Disgust', 0),
    ]


def test_the_neutral_scan_that_is_chosen_has_no_expression(prepared, tree):
    _, report = prepared
    for name, row in report['subjects'].items():
        truth = np.load(tree / 'truth' / f'{name}.npz')
        sequence, frame = row['neutral']
        place = (truth['sequences'] == sequence) & (truth['frames'] == frame)
        assert truth['expression_weights'][place].max() < 1e-9


def test_the_truth_lies_on_the_map_of_its_scan(prepared):
    (row,) = _read(prepared[0], 'subjects', 'train')
    both = row['mask'] & row['true_mask']
    assert row['has_truth']
    assert both.mean() > 0.5
    distance = np.linalg.norm(row['position_map'] - row['true_position_map'], axis=-1)[both]
    assert distance.mean() < 0.05  # The scan is the truth, moved and moved back.
    assert np.isfinite(row['position_map']).all()


def test_the_canonical_frame_has_the_nose_on_its_axis_at_90_mm(prepared):
    for split in ('train', 'validation', 'test'):
        (row,) = _read(prepared[0], 'subjects', split)
        nose = row['scan_vertices'][row['scan_vertices'][:, 2].argmax()]
        np.testing.assert_allclose(nose, [0, 0, 90], atol=12)


def test_finished_records_are_up_to_date_and_left_alone(prepared, tree):
    data_dir, report = prepared
    before = os.stat(data_dir / 'bu4dfe' / 'frames').st_mtime_ns
    again, up_to_date = _prepare(tree, data_dir)
    assert up_to_date and again == report
    assert os.stat(data_dir / 'bu4dfe' / 'frames').st_mtime_ns == before
    assert 'is up to date' in preparation_report.summary(again, up_to_date)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(icp, '_VOXEL_MM', _SHIPPED_VOXEL_MM)
    for count in (1, 2):
        _prepare(tree, tmp_path / str(count), num_workers=count)
    assert _digest(tmp_path / '1') == _digest(tmp_path / '2')


def test_a_stopped_run_goes_on_with_what_is_left(prepared, tree, tmp_path, monkeypatch):
    done = []
    read = subject.read

    def read_two(task):
        if len(done) == 2:
            raise KeyboardInterrupt
        read(task)
        done.append(task.subject.id)

    monkeypatch.setattr(subject, 'read', read_two)
    with pytest.raises(KeyboardInterrupt):
        _prepare(tree, tmp_path)
    assert not (tmp_path / 'bu4dfe').exists()
    assert done == ['F001', 'F003']
    done.clear()
    _prepare(tree, tmp_path)
    assert done == ['F004']
    assert _digest(tmp_path) == _digest(prepared[0])


def test_only_a_subject_whose_files_changed_is_read_again(prepared, tree, tmp_path, monkeypatch):
    data_dir = shutil.copytree(prepared[0], tmp_path / 'data')
    raw_dir = shutil.copytree(tree, tmp_path / 'raw')  # Keeps sizes and times.
    os.remove(raw_dir / 'F003' / 'Sad' / '001.jpg')
    done = []
    read = subject.read

    def counted_read(task):
        done.append(task.subject.id)
        read(task)

    monkeypatch.setattr(subject, 'read', counted_read)
    report, up_to_date = _prepare(raw_dir, data_dir)
    assert not up_to_date
    assert done == ['F003']
    assert report['counts']['test'] == {'subjects': 1, 'frames': 17}
    assert len(_read(data_dir, 'frames', 'test')) == 17


def test_a_tree_with_two_percent_bad_files_is_prepared_to_its_end(prepared, tree, tmp_path):
    data_dir = shutil.copytree(prepared[0], tmp_path / 'data')  # Two of three need no new reading.
    raw_dir = shutil.copytree(tree, tmp_path / 'raw')
    sequence, index = prepared[1]['subjects']['F004']['neutral']
    photo = raw_dir / 'F004/Fear/001.jpg'
    scan = raw_dir / f'F004/{sequence}/{index:03d}.wrl'
    photo.write_bytes(photo.read_bytes()[:-40])
    scan.write_bytes(b'#VRML V2.0 utf8\n' + bytes(range(256)))
    assert round(2 / sum(path.is_file() for path in raw_dir.glob('F*/*/*')), 2) == 0.02
    report, _ = _prepare(raw_dir, data_dir)
    assert report['counts']['train']['frames'] == report['counts']['test']['frames'] == 18
    assert report['counts']['validation'] == {'subjects': 1, 'frames': 17}
    assert {entry['where'] for entry in report['skipped']} == {str(photo), str(scan)}
    assert 'skipped: 1 photo, 1 scan ' in preparation_report.summary(report, False)


def _make_foreign(raw_dir):
    """Turns a tree into one that nobody here wrote: names, sizes, formats, broken files."""
    (raw_dir / 'BU_WrlViewer_V2').mkdir()
    (raw_dir / 'BU_WrlViewer_V2' / '000.wrl').write_text('no scan')
    shutil.rmtree(raw_dir / 'truth')
    os.rename(raw_dir / 'F003', raw_dir / 'f003')
    first = raw_dir / 'F001'
    shutil.rmtree(first / 'Fear')
    os.rename(first / 'Sad' / '000.wrl', first / 'Sad' / '007.WRL')
    for name in ('000', '001', '002'):  # Photos of another size and format, scans as PLY.
        photo = cv2.imread(str(first / 'Happy' / f'{name}.jpg'))
        cv2.imwrite(str(first / 'Happy' / f'{name}.png'), cv2.resize(photo, None, fx=2, fy=2))
        os.remove(first / 'Happy' / f'{name}.jpg')
        scan = scan_io.read_scan(first / 'Happy' / f'{name}.wrl')
        scan_io.write_ply(first / 'Happy' / f'{name}.ply', scan)
        os.remove(first / 'Happy' / f'{name}.wrl')
    (first / 'Angry' / '001.jpg').write_bytes(b'\xff\xd8 cut')
    cv2.imwrite(str(first / 'Angry' / '002.jpg'), np.full((180, 140, 3), 90, np.uint8))
    for path in (raw_dir / 'F004').rglob('*.wrl'):
        path.write_text('this is not VRML')


def test_a_foreign_tree_is_prepared_and_what_cannot_be_used_is_listed(copy_of_tree, tmp_path):
    _make_foreign(copy_of_tree)
    report, _ = _prepare(copy_of_tree, tmp_path / 'data')
    assert set(report['subjects']) == {'F001', 'F003'}
    assert report['missing'] == ['F002', 'F001/Fear']
    assert report['counts']['train'] == {'subjects': 1, 'frames': 13}
    why = {entry['where']: entry['why'] for entry in report['skipped']}
    assert 'not a readable picture' in why[str(copy_of_tree / 'F001/Angry/001.jpg')]
    assert 'no face' in why[str(copy_of_tree / 'F001/Angry/002.jpg')]
    assert 'none of its scans could be used' in why['F004']
    assert str(copy_of_tree / 'F004/Angry/000.wrl') in why
    (row,) = _read(tmp_path / 'data', 'subjects', 'train')
    assert not row['has_truth'] and row['true_vertices'].shape == (0, 3)
    assert 'skipped: 2 photos, 18 scans, 1 subject ' in preparation_report.summary(report, False)
    assert json.loads((tmp_path / 'data/bu4dfe/report.json').read_text()) == report


def test_a_broken_neutral_scan_makes_way_for_the_next_best(prepared, copy_of_tree, tmp_path):
    sequence, index = prepared[1]['subjects']['F001']['neutral']
    path = copy_of_tree / 'F001' / sequence / f'{index:03d}.wrl'
    path.write_text(path.read_text()[:3000])
    report, _ = _prepare(copy_of_tree, tmp_path / 'data', subject_ids=['F001'])
    assert report['subjects']['F001']['neutral'] != [sequence, index]
    assert [entry['where'] for entry in report['skipped']] == [str(path)]


def test_the_tables_of_splits_and_neutral_frames_overrule(tree, tmp_path):
    (tmp_path / 'splits.csv').write_text('subject,split\nF001,test\n')
    (tmp_path / 'neutral.csv').write_text('subject,sequence,frame\nF001,Sad,1\n')
    report, _ = _prepare(
        tree,
        tmp_path / 'data',
        subject_ids=['F001'],
        splits_csv=tmp_path / 'splits.csv',
        neutral_csv=tmp_path / 'neutral.csv',
    )
    assert report['subjects']['F001']['split'] == 'test'
    assert report['subjects']['F001']['neutral'] == ['Sad', 1]
    assert report['splits_by_rule'] == []


def test_a_tree_of_which_nothing_can_be_used_is_an_error(tmp_path):
    for name in ('000', '001'):
        photo = small_raw_tree.draw_face(180, 140, (70, 90), 45)
        small_raw_tree.write_photo(tmp_path / f'raw/F001/Sad/{name}.jpg', photo)
        (tmp_path / f'raw/F001/Sad/{name}.wrl').write_text('#VRML V2.0 utf8\n')
    with pytest.raises(UserError, match='no subject of .* can be used; F001: none of its scans'):
        _prepare(tmp_path / 'raw', tmp_path / 'data')


def test_an_unknown_subject_is_told_with_those_that_are_there(tree, tmp_path):
    with pytest.raises(UserError, match='names F009, but .* holds only F001, F003, F004'):
        _prepare(tree, tmp_path, subject_ids=['F001', 'F009'])


def test_two_runs_at_once_do_not_mix(tree, tmp_path):
    (tmp_path / '.work' / 'bu4dfe').mkdir(parents=True)
    with prepare._locked(str(tmp_path / '.work' / 'bu4dfe')):
        with pytest.raises(UserError, match='another preparation is writing'):
            _prepare(tree, tmp_path)


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('raw/a', 'cannot read .*raw/a: look at its permissions'),
        ('data/x', 'cannot write to .*data/x; choose another --data_dir'),
    ],
)
def test_what_may_not_be_read_and_what_may_not_be_written_are_told_apart(tmp_path, name, sentence):
    with pytest.raises(UserError, match=sentence):
        with prepare._locked(str(tmp_path / 'data' / '.work' / 'bu4dfe')):
            raise PermissionError(errno.EACCES, 'Permission denied', str(tmp_path / name))


def test_an_open3d_that_does_not_load_is_not_a_fault_of_the_scans(tree, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'open3d', None)
    with pytest.raises(UserError, match='Open3D cannot be loaded .*libegl1'):
        _prepare(tree, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['bu5dfe'], "error: unknown data set 'bu5dfe'; known commands are: bu3dfe, "),
        (
            ['synthetic_row'],
            "error: unknown data set 'synthetic_row'; known commands are: bu3dfe, bu4dfe, "
            'florence, folder, w300lp, synthetic_raw; did you mean synthetic_raw?',
        ),
        ([], 'error: give one command'),
        (['bu4dfe'], 'error: bu4dfe needs --raw_dir=FOLDER'),
        (['bu4dfe', '--raw_dir=/nowhere'], 'error: --raw_dir=/nowhere is not a folder'),
        (['synthetic_raw', '--raw_dir=x', '--out_dir=y'], 'error: --raw_dir is not a flag of'),
    ],
)
def test_a_wrong_command_ends_with_one_sentence(arguments, sentence):
    done = forked_commands.run('-m', 'data_prep', *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert done.stderr.count('\n') == 1 and done.stdout == ''


def _run_and_kill(function, renames):
    """Calls a function in a process that is killed before one of its renames; whether it was."""
    child = os.fork()
    if child == 0:
        replace, left = os.replace, renames

        def counted(*paths):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            replace(*paths)

        os.replace = counted
        function()
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.slow
def test_new_records_take_the_place_of_old_ones_whole_whenever_they_are_killed(tmp_path):
    new, folder, old = (str(tmp_path / name) for name in ('new', 'folder', 'old'))

    def write(path, text):
        for name in ('frames', 'subjects'):
            os.makedirs(f'{path}/{name}', exist_ok=True)
            with open(f'{path}/{name}/x', 'w') as file:
                file.write(text)

    def read():
        paths = [f'{folder}/{name}/x' for name in ('frames', 'subjects')]
        return {open(path).read() for path in paths if os.path.exists(path)}

    write(folder, 'first')
    (tmp_path / 'folder/notes.txt').write_text('mine')
    for renames in range(3):
        write(new, 'second')
        assert _run_and_kill(lambda: prepare._take_place(new, folder, old), renames)
        assert read() in ({'first'}, {'second'}, set())  # Never both.
        write(new, 'third')
        prepare._take_place(new, folder, old)
        assert read() == {'third'}
        assert sorted(os.listdir(folder)) == ['frames', 'notes.txt', 'subjects']
        assert not os.path.exists(old)
        write(folder, 'first')


@pytest.mark.slow
def test_a_work_file_killed_before_its_rename_is_not_there(tmp_path):
    path = str(tmp_path / 'x.npz')
    assert _run_and_kill(lambda: work_files.save(path, 'k', {'x': np.zeros(9)}), 0)
    assert not work_files.is_valid(path, 'k')


def test_a_work_file_that_was_damaged_later_is_named(tmp_path):
    path = str(tmp_path / 'x.npz')
    work_files.save(path, 'k', {'x': np.arange(5000)})
    content = bytearray((tmp_path / 'x.npz').read_bytes())
    content[content.index(b'x.npy') + 3000] ^= 1
    (tmp_path / 'x.npz').write_bytes(content)
    with pytest.raises(UserError, match=r'x\.npz is damaged \(.*CRC.*\).*again'):
        work_files.load(path)
    assert not work_files.is_valid(path, 'k') and os.path.exists(path + '.damaged')


class _Entries:
    """A scandir of a list."""

    def __init__(self, entries):
        self._entries = iter(entries)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_the_order_of_files_and_the_clock_change_nothing(tree, monkeypatch):
    def inputs():
        found = preparation_inputs.find('bu4dfe', str(tree), 'data', (), None, None)
        return [(task.key, task.subject) for task in found.tasks], found.assignment

    expected = inputs()
    listdir, scandir = os.listdir, os.scandir
    monkeypatch.setattr(os, 'listdir', lambda path: sorted(listdir(path))[::-1])
    monkeypatch.setattr(
        os,
        'scandir',
        lambda path: _Entries(sorted(scandir(path), key=lambda e: e.name, reverse=True)),
    )
    monkeypatch.setattr('time.time', lambda: 0.0)
    assert inputs() == expected


def test_hostile_names_and_links_in_a_tree_do_not_stop_its_preparation(copy_of_tree, tmp_path):
    folder = copy_of_tree / 'F001' / 'Angry'
    for name, target in (('000.wrl', '000.wrl'), ('001.wrl', '/dev/zero'), ('001.jpg', 'nowhere')):
        os.remove(folder / name)
        os.symlink(target, folder / name)
    os.remove(folder / '002.jpg')
    os.mkdir(folder / '002.jpg')
    (folder / '99999999999999999999.jpg').write_bytes(b'')
    os.mkfifo(folder / '003.jpg')
    (tmp_path / 'neutral.csv').write_text('subject,sequence,frame\nF001,Angry,0\n')
    options = {'subject_ids': ['F001'], 'neutral_csv': tmp_path / 'neutral.csv'}
    report, _ = _prepare(copy_of_tree, tmp_path / 'data', **options)
    assert report['subjects']['F001']['num_frames'] == 16
    names = sorted(os.path.basename(entry['where']) for entry in report['skipped'])
    assert names[:4] == ['000.wrl', '001.jpg', '002.jpg', '003.jpg']
    (tmp_path / 'neutral.csv').write_text('subject,sequence,frame\nF001,../../etc,0\n')
    with pytest.raises(UserError, match=r'no scan of F001 in \.\./\.\./etc'):
        _prepare(copy_of_tree, tmp_path / 'data', **options)


def test_a_subject_whose_scan_is_posed_wrongly_is_listed_and_moves_no_other(
    prepared, tree, tmp_path, monkeypatch
):
    shutil.copytree(prepared[0], tmp_path / 'alone')  # Photos and scans need no new reading.
    alone, _ = _prepare(tree, tmp_path / 'alone', subject_ids=['F001', 'F004'])
    turn = scan_motion.ScanMotion(Rotation.from_rotvec([0.6, 0, 0]).as_matrix(), np.zeros(3))
    register, read = canonical.register, subject.read

    def read_turned(task):
        with monkeypatch.context() as patch:
            if task.subject.id == 'F003':
                patch.setattr(
                    canonical,
                    'register',
                    lambda *scan: (turn.compose(register(*scan)[0]), 1.0),
                )
            read(task)

    monkeypatch.setattr(subject, 'read', read_turned)
    monkeypatch.setattr(pose_outliers, 'MIN_GROUP', 3)
    monkeypatch.setattr(canonical, 'poses', lambda *_: [turn])  # Its second look fails, too.
    report, _ = _prepare(tree, tmp_path / 'data')
    assert set(report['subjects']) == {'F001', 'F004'} and alone['skipped'] == []
    (entry,) = report['skipped']
    assert (entry['what'], entry['where']) == ('subject', 'F003')
    assert 'more than 6 mm is a wrong pose' in entry['why']
    assert 'skipped: 1 subject ' in preparation_report.summary(report, False)
    for name in ('F001', 'F004'):
        assert report['subjects'][name]['deviation_mm'] < 6
        maps = [
            work_files.load(f'{tmp_path}/{place}/.work/bu4dfe/{name}.surface.npz')['position_map']
            for place in ('alone', 'data')
        ]
        np.testing.assert_array_equal(*maps)
