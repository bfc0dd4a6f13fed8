import collections
import glob
import os
import shutil

import cv2
import numpy as np
import pytest

from data_prep import sources
from seqface_jax.data import input_pipeline, record_reader
from seqface_jax.models import normalization
from seqface_jax.errors import UserError
from tests import conftest
from tests.helpers import toy_model


@pytest.fixture(scope='module')
def config(tiny_records):
    return toy_model.get_config(tiny_records).data


@pytest.fixture(scope='module')
def dataset(config):
    return input_pipeline.open_dataset(config)


@pytest.fixture(scope='module')
def training(dataset):
    return dataset.split('train')


def frames_of(split, seed, epoch, *, real_only):
    """Counts (subject, frame's bytes) over the batches of an epoch."""
    seen = collections.Counter()
    for batch in split.batches(seed, epoch):
        for row, weight in enumerate(batch['weight']):
            if weight or not real_only:
                subject = int(batch['subject_index'][row])
                seen.update((subject, frame.tobytes()) for frame in batch['frames'][row])
    return seen


def test_a_few_of_a_split_are_spread_over_it_and_keep_their_frames(training):
    few = training.evenly(3)
    assert few.subject_ids == [training.subject_ids[place] for place in (0, 2, 4)]
    for name, column in training.subjects.items():
        np.testing.assert_array_equal(few.subjects[name][1], column[2], err_msg=name)
        assert len(few.subjects[name]) == 3
    np.testing.assert_array_equal(few.frames(2, [1, 3]), training.frames(4, [1, 3]))
    assert training.evenly(0) is training.evenly(9) is training


@pytest.mark.parametrize('counts', [[7, 7, 7], [1, 2, 3, 100], [5]])
@pytest.mark.parametrize('num_frames', [1, 3, 8])
def test_an_epoch_deals_every_frame_once_but_for_topping_up(counts, num_frames):
    plan = input_pipeline.epoch_plan(3, 4, counts, num_frames)
    assert len(plan) == sum(-(-count // num_frames) for count in counts)
    for subject, count in enumerate(counts):
        groups = [frames for owner, frames in plan if owner == subject]
        seen = collections.Counter(np.concatenate(groups).tolist())
        assert set(seen) == set(range(count))
        assert sum(seen.values()) == -(-count // num_frames) * num_frames
        if count >= num_frames:
            assert all(len(set(group)) == num_frames for group in groups)


def test_epochs_differ_and_repeat_from_their_seed():
    def plan(seed, epoch):
        return str(input_pipeline.epoch_plan(seed, epoch, [9, 9], 4))

    assert plan(0, 0) == plan(0, 0)
    assert len({plan(0, 0), plan(0, 1), plan(1, 0), plan(1, 1)}) == 4


def test_a_batch_has_the_promised_shapes_and_types(training):
    batch = training.batch(0, 0, 0)
    assert {name: (value.shape, value.dtype.name) for name, value in batch.items()} == {
        'frames': ((4, 3, 32, 32, 3), 'uint8'),
        'position_map': ((4, 128, 128, 3), 'float32'),
        'mask': ((4, 128, 128), 'bool'),
        'points': ((4, 16384, 3), 'float32'),
        'yaw_deg': ((4, 3), 'float32'),
        'weight': ((4,), 'float32'),
        'subject_index': ((4,), 'int32'),
        'row': ((4,), 'int32'),
    }


def test_deformations_are_those_of_the_frames_beyond_the_neutral_face(config):
    config = config.copy_and_resolve_references()
    config.frame_maps = True
    split = input_pipeline.open_dataset(config).split('train')
    split.subjects['position_map'] = split.subjects['position_map'] * np.float32(0.98)
    found = split.sample_deformations(1000)
    assert found['deformation'].shape == (5 * 7, 128, 128)
    radius = np.linalg.norm(conftest.make_person(split.subject_ids[0])[0]['position_map'], axis=-1)
    np.testing.assert_allclose(found['deformation'][0], 0.02 * radius, atol=0.01)
    known = found['deformation_mask'].reshape(5, 7, 128, 128).any(axis=(2, 3))
    np.testing.assert_array_equal(known.sum(axis=1), 6)  # The last frame has no map.
    assert not found['deformation_mask'][:, :3].any()
    assert len(split.sample_deformations(4)['deformation']) == 4


def test_every_frame_of_a_split_is_read_once_an_epoch(training):
    seen = frames_of(training, 0, 0, real_only=True)
    assert len(seen) == 5 * 7
    assert sum(seen.values()) == 5 * 9  # 7 frames make 3 groups of 3.


def test_an_epoch_counts_every_group_once_and_fills_the_last_batch_from_its_start(training):
    batches = list(training.batches(0, 0))
    assert len(batches) == training.num_batches() == 4
    assert sum(batch['weight'].sum() for batch in batches) == 15
    np.testing.assert_array_equal(batches[-1]['weight'], [1, 1, 1, 0])
    np.testing.assert_array_equal(batches[-1]['frames'][3], batches[0]['frames'][0])


def test_batches_are_the_same_from_any_thread_and_any_start(training):
    alone = [training.batch(5, 2, index) for index in range(training.num_batches())]
    threads = list(training.batches(5, 2))
    resumed = list(training.batches(5, 2, start=2))
    for expected, batch in zip(alone + alone[2:], threads + resumed, strict=True):
        for name, value in expected.items():
            np.testing.assert_array_equal(batch[name], value)


def test_a_batch_holds_frames_and_targets_of_the_same_person(training):
    batch = training.batch(0, 0, 0)
    for row, subject in enumerate(batch['subject_index']):
        person, lump = conftest.make_person(training.subject_ids[subject])
        np.testing.assert_array_equal(batch['position_map'][row], person['position_map'])
        middle = batch['frames'][row][:, 12:20, 12:20].mean()
        assert abs(middle - (135 + 60 * lump)) < 6


def test_frames_are_sorted_by_sequence_and_number():
    places = [('Sad', 1, 0, 5.0), ('Angry', 9, 2, np.nan), ('Sad', 0, 1, -40.0)]
    index = input_pipeline._frame_index(sorted(places))
    np.testing.assert_array_equal(index.yaw_deg, [np.nan, -40, 5])
    np.testing.assert_array_equal(index.records, [2, 1, 0])
    np.testing.assert_array_equal(index.sequences, ['Angry', 'Sad', 'Sad'])


def test_splits_have_no_person_in_common_and_can_be_joined(dataset):
    ids = {name: dataset.split(name).subject_ids for name in ('train', 'validation', 'test')}
    assert ids == {name: sorted(subjects) for name, subjects in conftest.SPLITS.items()}
    assert len(set(sum(ids.values(), []))) == 9
    both = dataset.split('validation+test')
    assert both.subject_ids == sorted(ids['validation'] + ids['test'])


def test_the_cache_changes_no_frame(config, training):
    with config.copy_and_resolve_references().unlocked() as uncached:
        uncached.cache_mib = 0
        frames = input_pipeline.open_dataset(uncached).split('train').frames(1, [0, 5])
    np.testing.assert_array_equal(frames, training.frames(1, [0, 5]))
    np.testing.assert_array_equal(frames, training.frames(1, [0, 5]))


def test_missing_records_are_answered_with_the_command_that_makes_them(config, tmp_path):
    config = config.copy_and_resolve_references()
    config.dir = str(tmp_path)
    with pytest.raises(UserError, match=r'python -m data_prep DATASET --raw_dir=RAW') as caught:
        input_pipeline.open_dataset(config)
    assert 'data_prep tiny' not in str(caught.value)  # The name of records is no data set.
    config.dir = str(tmp_path / 'nowhere')
    with pytest.raises(UserError, match='nowhere is no folder'):
        input_pipeline.open_dataset(config)


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('tny', "no records of 'tny' in .*: did you mean data.name='tiny'"),
        ('nope', 'there are tiny; data sets that can be prepared are bu3dfe'),
    ],
)
def test_a_misspelt_name_of_records_is_answered_with_those_that_are_there(config, name, sentence):
    config = config.copy_and_resolve_references()
    config.name = name
    with pytest.raises(UserError, match=sentence):
        input_pipeline.open_dataset(config)


def test_an_unknown_split_is_answered_with_the_known_ones(dataset):
    with pytest.raises(UserError, match='train, validation, test'):
        dataset.split('holdout')


@pytest.fixture
def damaged(config, tmp_path):
    """Returns a config whose records are a copy that may be damaged."""
    shutil.copytree(os.path.join(config.dir, config.name), tmp_path / 'tiny')
    config = config.copy_and_resolve_references()
    config.dir = str(tmp_path)
    return config


def test_an_empty_split_says_so(dataset):
    with pytest.raises(UserError, match='is empty'):
        dataset.split('train[:0%]')


def with_maps(config):
    config = config.copy_and_resolve_references()
    config.frame_maps = True
    return config


def test_maps_of_frames_come_with_their_frames_where_they_are_asked_for(config):
    split = input_pipeline.open_dataset(with_maps(config)).split('train')
    batch = split.batch(0, 0, 0)
    person, _ = conftest.make_person(split.subject_ids[batch['subject_index'][0]])
    named = {name: batch[name] for name in ('frame_map', 'frame_mask', 'image_map', 'image_mask')}
    assert {name: (value.shape, str(value.dtype)) for name, value in named.items()} == {
        'frame_map': ((4, 3, 128, 128, 3), 'float32'),
        'frame_mask': ((4, 3, 128, 128), 'bool'),
        'image_map': ((4, 3, 128, 128, 3), 'float32'),
        'image_mask': ((4, 3, 128, 128), 'bool'),
    }
    for yaw_deg, *maps in zip(batch['yaw_deg'][0], *(v[0] for v in named.values()), strict=True):
        known = person['mask'] & (yaw_deg < 40)  # The last of seven frames has no scan.
        np.testing.assert_array_equal(maps[1], known)
        np.testing.assert_array_equal(maps[3], known)
        np.testing.assert_allclose(maps[0][known], person['position_map'][known], atol=0.01)


def test_maps_that_the_records_lack_are_answered_with_the_command_that_makes_them(damaged):
    shutil.rmtree(f'{damaged.dir}/tiny/frame_maps')
    with pytest.raises(UserError, match='no maps of single frames.* --frame_maps'):
        input_pipeline.open_dataset(with_maps(damaged))


def test_records_of_the_version_before_are_read_and_know_no_pose(damaged, monkeypatch):
    for kind in ('frames', 'subjects'):
        os.rename(f'{damaged.dir}/tiny/{kind}/1.1.0', f'{damaged.dir}/tiny/{kind}/1.0.0')
    of_frame = record_reader.Records.__getitem__

    def of_old_frame(records, index):
        return {k: v for k, v in of_frame(records, index).items() if k != 'yaw_deg'}

    monkeypatch.setattr(record_reader.Records, '__getitem__', of_old_frame)
    split = input_pipeline.open_dataset(damaged).split('train')
    assert np.isnan(split.batch(0, 0, 0)['yaw_deg']).all()


@pytest.mark.parametrize('kind', ['frames', 'subjects'])
def test_a_truncated_record_is_named_by_file_and_index(damaged, kind):
    path = glob.glob(f'{damaged.dir}/tiny/{kind}/1.1.0/*-train*')[0]
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(UserError, match=rf'record \d+ of .*{kind}-train.array_record'):
        input_pipeline.open_dataset(damaged).split('train')


def test_damaged_information_about_records_says_so(damaged):
    with open(f'{damaged.dir}/tiny/frames/1.1.0/dataset_info.json', 'w') as file:
        file.write('{"name": "fra')
    with pytest.raises(UserError, match='damaged or foreign'):
        input_pipeline.open_dataset(damaged)


def flip_a_bit(config, kind, place):
    """Damages the train records of a kind; `place` is a share of the file."""
    path = glob.glob(f'{config.dir}/tiny/{kind}/1.1.0/*-train*')[0]
    with open(path, 'r+b') as file:
        file.seek(int(place * os.path.getsize(path)))
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize('kind', ['frames', 'subjects'])
def test_one_flipped_bit_is_found_and_named(damaged, kind):
    flip_a_bit(damaged, kind, 0.3)
    with pytest.raises(UserError, match=rf'record \d+ of .*{kind}-train.*hash mismatch.*=skip'):
        input_pipeline.open_dataset(damaged).split('train')


@pytest.mark.parametrize('kind', ['frames', 'subjects'])
def test_damaged_records_are_left_out_where_the_config_says_so(damaged, training, kind, caplog):
    flip_a_bit(damaged, kind, 0.3)
    damaged.on_bad_record = 'skip'
    split = input_pipeline.open_dataset(damaged).split('train')
    assert f'{kind}-train.array_record' in caplog.text
    total = sum(split.frames_by_subject)
    assert 0 < total < 5 * 7
    for subject, index in zip(split.subject_ids, split.frame_index, strict=True):
        whole = training.subject_ids.index(subject)
        kept = np.isin(training.frame_index[whole].records, index.records).nonzero()[0]
        np.testing.assert_array_equal(
            split.frames(split.subject_ids.index(subject), range(len(kept))),
            training.frames(whole, kept),
        )


def test_a_record_that_goes_bad_while_training_reads_it_is_named(damaged):
    split = input_pipeline.open_dataset(damaged).split('train')
    flip_a_bit(damaged, 'frames', 0.3)
    with pytest.raises(UserError, match=r'record \d+ of .*frames-train'):
        list(split.batches(0, 0))


def test_an_unknown_way_with_bad_records_is_answered_with_the_known_ones(config):
    config = config.copy_and_resolve_references()
    config.on_bad_record = 'ignore'
    with pytest.raises(UserError, match="'ignore' is not one of .*fail.*skip"):
        input_pipeline.open_dataset(config)


def test_records_of_another_version_are_refused_with_what_to_do(damaged):
    folder = f'{damaged.dir}/tiny/frames'
    os.rename(f'{folder}/1.1.0', f'{folder}/0.9.0')
    with pytest.raises(UserError, match='have version 0.9.0, this program reads 1.1.0 and 1.0.0:'):
        input_pipeline.open_dataset(damaged)


def test_every_frontal_frame_is_paired_with_one_from_the_side():
    yaws = [np.array([0, 50, -60, 10, np.nan]), np.array([5.0, 20.0]), np.array([70.0, -44, 90])]
    pairs = input_pipeline.pair_plan(0, 0, yaws, 45.0, 45.0)
    fronts = sorted((subject, int(frames[0])) for subject, frames in pairs)
    assert fronts == [(0, 0), (0, 3), (2, 1)]  # Nobody has seen the second subject from the side.
    assert all(abs(yaws[subject][frames[1]]) > 45 for subject, frames in pairs)
    again = input_pipeline.pair_plan(0, 0, yaws, 45.0, 45.0)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(pairs, again, strict=True))


def test_pairs_of_one_frame_are_their_frontal_frames(tiny_records):
    config = toy_model.get_config(tiny_records).data
    limits = {'front_max_yaw_deg': 15.0, 'side_min_yaw_deg': 25.0}
    config.update(draw='pairs', num_frames=1, **limits)
    yaw_deg = input_pipeline.open_dataset(config).split('train').batch(0, 0, 0)['yaw_deg']
    assert yaw_deg.shape[1] == 1 and (np.abs(yaw_deg) < 15).all()


def test_records_that_name_code_of_their_own_are_refused(damaged):
    (path,) = glob.glob(f'{damaged.dir}/tiny/frames/*/features.json')
    with open(path) as file:
        text = file.read()
    with open(path, 'w') as file:
        file.write(text.replace('tensorflow_datasets.core.features.text_feature', 'antigravity'))
    with pytest.raises(UserError, match='damaged or foreign'):
        input_pipeline.open_dataset(damaged)


def test_an_image_whose_header_announces_gigabytes_is_not_decoded():
    data = bytearray(cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    assert record_reader.decode_image({'image': bytes(data)}).shape == (8, 8, 3)
    place = data.index(b'\xff\xc0') + 5  # Height and width, 2 bytes each.
    for side in (b'\x75\x30', b'\xff\xff'):
        data[place : place + 4] = side * 2
        assert record_reader.decode_image({'image': bytes(data)}) is None
    assert record_reader.decode_image({'image': b''}) is None


def test_the_data_sets_that_a_message_names_are_those_of_data_prep():
    assert list(record_reader.DATA_SETS) == sources.names()
