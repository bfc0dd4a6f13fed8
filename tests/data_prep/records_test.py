import json

import cv2
import numpy as np
import pytest

from data_prep import records
from data_prep.scans.unordered import NUM_POINTS
from data_prep.work import work_files

SPLITS = {'train': ('F001', 'M001'), 'test': ('F003',)}


def _write_work_files(folder, subject, rng):
    """Writes what the two steps of a subject leave behind; returns the paths."""
    jpegs = [cv2.imencode('.jpg', np.full((256, 256, 3), 40 * n, np.uint8))[1] for n in range(3)]
    read = {
        'sequences': np.array(['Angry', 'Angry', 'Sad']),
        'indices': np.array([0, 7, 2], np.int32),
        'jpegs': np.concatenate(jpegs),
        'jpeg_ends': np.cumsum([len(jpeg) for jpeg in jpegs]),
        'boxes': rng.normal(size=(3, 4)).astype(np.float32),
        'info': np.array(json.dumps({'neutral_path': f'{subject}/Angry/000.wrl'})),
    }
    surface = {
        'position_map': rng.normal(size=(128, 128, 3)).astype(np.float32),
        'mask': rng.random((128, 128)) < 0.9,
        'points': rng.normal(size=(NUM_POINTS, 3)).astype(np.float32),
        'scan_vertices': rng.normal(size=(50 + len(subject), 3)).astype(np.float32),
        'scan_triangles': rng.integers(0, 50, (70, 3)).astype(np.int32),
        'has_truth': np.array(False),
        'true_position_map': np.zeros((128, 128, 3), np.float32),
        'true_mask': np.zeros((128, 128), bool),
        'true_vertices': np.zeros((0, 3), np.float32),
        'true_triangles': np.zeros((0, 3), np.int32),
        'error': np.array(''),
        'pose_rotations': np.stack([np.eye(3), np.full((3, 3), np.nan), np.eye(3)[[1, 2, 0]]]),
        'pose_translations': rng.normal(size=(3, 3)),
    }
    paths = str(folder / f'{subject}.read.npz'), str(folder / f'{subject}.surface.npz')
    work_files.save(paths[0], 'key', read)
    work_files.save(paths[1], 'key', surface)
    return paths, read, surface


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('records')
    rng = np.random.default_rng(0)
    arrays, members, calls = {}, {}, []
    for split, subjects in SPLITS.items():
        for subject in subjects:
            paths, read, surface = _write_work_files(folder, subject, rng)
            members.setdefault(split, []).append(records.Member(subject, *paths))
            arrays[subject] = read, surface
    metadata = {'description': 'Records of a test.', 'source': '/raw', 'skipped': []}
    records.write(str(folder / 'out'), members, metadata, on_frame=lambda: calls.append(1))
    assert len(calls) == 9
    return folder / 'out', arrays


def _read(written, part, split):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(written[0] / part / records.VERSION)
    return builder.as_data_source(split)


def test_a_subject_is_read_back_as_it_was_written_without_our_code(written):
    rows = _read(written, 'subjects', 'train')
    assert len(rows) == 2
    for row in rows:
        expected = written[1][row['subject'].decode()][1]
        names = {name for name in expected if name != 'error' and not name.startswith('pose_')}
        assert set(row) == names | {'subject', 'neutral_path'}
        for name in names:
            np.testing.assert_array_equal(row[name], expected[name], err_msg=name)
            assert np.asarray(row[name]).dtype == expected[name].dtype


def test_frames_come_back_in_order_as_jpeg_bytes(written):
    rows = list(_read(written, 'frames', 'train'))
    assert [(row['subject'], row['sequence'], row['frame']) for row in rows] == [
        (subject, sequence, frame)
        for subject in (b'F001', b'M001')
        for sequence, frame in ((b'Angry', 0), (b'Angry', 7), (b'Sad', 2))
    ]
    image = cv2.imdecode(np.frombuffer(rows[2]['image'], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (256, 256, 3)
    np.testing.assert_array_equal(image, 80)
    np.testing.assert_array_equal(rows[2]['crop_box'], written[1]['F001'][0]['boxes'][2])


def test_a_frame_says_where_its_head_looks_where_that_is_known(written):
    rows = list(_read(written, 'frames', 'train'))[:3]
    np.testing.assert_array_equal([row['yaw_deg'] for row in rows[:2]], [0, np.nan])
    poses = written[1]['F001'][1]
    np.testing.assert_allclose(
        [row['rotation'] for row in rows], poses['pose_rotations'].astype(np.float32)
    )
    np.testing.assert_allclose(
        [row['translation'] for row in rows], poses['pose_translations'].astype(np.float32)
    )


def test_maps_that_nobody_asked_for_are_not_written(written):
    assert not (written[0] / 'frame_maps').exists()


def test_a_large_split_is_written_file_by_file_and_comes_back_in_order(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import shuffle

    monkeypatch.setattr(records, '_PEOPLE_PER_FILE', 2)
    monkeypatch.setattr(shuffle, 'MAX_MEM_BUFFER_SIZE', 0)  # Beyond it TFDS needs TensorFlow.
    rng = np.random.default_rng(1)
    ids = [f'F{number:03d}' for number in (9, 3, 7, 1, 5)]
    members = [records.Member(name, *_write_work_files(tmp_path, name, rng)[0]) for name in ids]
    metadata = {'description': 'Records of a test.'}
    records.write(str(tmp_path / 'out'), {'train': members}, metadata, on_frame=lambda: None)
    for kind, count in (('subjects', 1), ('frames', 3)):
        folder = tmp_path / 'out' / kind / records.VERSION
        assert len(list(folder.glob('*.array_record-*-of-00003'))) == 3
        rows = tfds.builder_from_directory(folder).as_data_source('train')
        read = [rows[index]['subject'].decode() for index in range(len(rows))]
        assert read == [name for name in ids for _ in range(count)]


def test_a_split_without_subjects_is_left_out(written):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(written[0] / 'frames' / records.VERSION)
    assert {name: info.num_examples for name, info in builder.info.splits.items()} == {
        'train': 6,
        'test': 3,
    }


def test_the_records_say_where_they_come_from(written):
    import tensorflow_datasets as tfds

    info = tfds.builder_from_directory(written[0] / 'subjects' / records.VERSION).info
    assert info.description == 'Records of a test.'
    assert info.metadata['source'] == '/raw'


def test_a_work_file_is_valid_for_its_key_only_and_never_half(tmp_path):
    path = tmp_path / 'a' / 'x.npz'
    assert not work_files.is_valid(path, 'k')
    work_files.save(str(path), 'k', {'x': np.arange(5000)})
    assert work_files.is_valid(path, 'k')
    assert not work_files.is_valid(path, 'other')
    assert [entry.name for entry in path.parent.iterdir()] == ['x.npz']
    path.write_bytes(path.read_bytes()[:100])
    assert not work_files.is_valid(path, 'k')


def test_the_key_tells_parts_and_their_borders_apart():
    keys = {
        work_files.key_of('ab', 'c'),
        work_files.key_of('a', 'bc'),
        work_files.key_of(b'ab', 'c'),
        work_files.key_of(np.zeros(4)),
        work_files.key_of(np.zeros((2, 2))),
        work_files.key_of(np.zeros(4, np.float32)),
        work_files.key_of({'a': 1}),
    }
    assert len(keys) == 7
    assert work_files.key_of({'a': 1, 'b': 2}) == work_files.key_of({'b': 2, 'a': 1})
