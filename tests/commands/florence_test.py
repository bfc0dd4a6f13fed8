"""MICC Florence: its tree as it is, and what becomes of it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from data_prep import sources
from data_prep.sources import florence_scans, video_frames
from seqface_jax.errors import UserError
from tests.helpers import small_source_trees

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    raw_dir = tmp_path_factory.mktemp('florence')
    small_source_trees.write_florence(raw_dir, ('subject_01', 'subject_02', 'subject_03'))
    (raw_dir / 'subject_02/Model/frontal1/obj/1109201501.obj').write_text('v 1 2 oops\n')
    (raw_dir / 'subject_03/Model/frontal1/obj/1109201502.obj').unlink()
    (raw_dir / 'subject_03/Model/frontal2/obj/1109201502.obj').write_text('')
    (raw_dir / 'subject_01/Video/PTZ-Outdoor.mjpg').write_bytes(b'no video')
    return raw_dir


def test_scans_of_the_front_and_every_video_are_frames_and_the_rest_is_missing(tree):
    source = sources.open_source('florence', str(tree))
    first = source.subjects()[0]
    assert [(f.sequence, f.index, bool(f.scan_path)) for f in first.frames] == [
        ('Indoor-Cooperative', 0, False),
        ('PTZ-Indoor', 0, False),
        ('PTZ-Outdoor', 0, False),
        ('frontal1', 0, True),
        ('frontal2', 1, True),
    ]
    assert source.neutral('subject_01') == ('frontal1', 0)
    assert source.neutral('subject_03') == ('frontal2', 0)
    assert source.missing == [
        *[f'subject_{number:02d}' for number in range(4, 54)],
        'subject_03/frontal1',
    ]
    assert {source.split(subject.id) for subject in source.subjects()} == {'test'}


@pytest.mark.slow
def test_it_is_prepared_by_its_command_and_one_bad_subject_is_skipped_and_listed(tree, tmp_path):
    command = [sys.executable, '-m', 'data_prep', 'florence', '--workers=1']
    done = subprocess.run(
        [*command, f'--raw_dir={tree}', f'--data_dir={tmp_path}'],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'test 2 subjects / 15 frames' in done.stdout
    assert 'not in the table' not in done.stdout
    assert 'skipped: 1 photo, 2 scans, 1 subject' in done.stdout
    assert 'subject subject_03: none of its scans could be used' in done.stdout
    assert 'PTZ-Outdoor.mjpg: is not a readable video' in done.stdout
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(next((tmp_path / 'florence/frames').iterdir())))
    rows = list(builder.as_data_source('test'))
    assert [(row['sequence'], row['frame']) for row in rows[:4]] == [
        (b'Indoor-Cooperative', 0),
        (b'Indoor-Cooperative', 1),
        (b'Indoor-Cooperative', 2),
        (b'PTZ-Indoor', 0),
    ]
    builder = tfds.builder_from_directory(str(next((tmp_path / 'florence/subjects').iterdir())))
    paths = [row['neutral_path'].decode() for row in builder.as_data_source('test')]
    assert [path.split('/')[:3] for path in paths] == [
        ['subject_01', 'Model', 'frontal1'],
        ['subject_02', 'Model', 'frontal2'],  # Its frontal1 is broken.
    ]


def test_a_tree_of_something_else_gives_one_sentence(tmp_path):
    (tmp_path / 'MICC' / 'subject_01').mkdir(parents=True)
    with pytest.raises(UserError, match=r'did you mean --raw_dir=.*/MICC\?'):
        florence_scans.Source(str(tmp_path))


def test_frames_of_a_long_video_are_spread_over_it(tmp_path, monkeypatch):
    path = str(tmp_path / 'x.mjpg')
    small_source_trees.write_mjpg(path, 11)
    monkeypatch.setattr(video_frames, 'MAX_FRAMES', 4)
    frames = list(video_frames.read(path))
    assert [number for number, _ in frames] == [0, 3, 6, 9]
    expected = small_source_trees.photo((90 + 6 % 5, 90))
    assert np.abs(frames[2][1].astype(int) - expected).mean() < 3


def test_a_video_of_nothing_is_named(tmp_path):
    (tmp_path / 'x.mpg').write_bytes(b'')
    with pytest.raises(UserError, match='x.mpg is not a readable video'):
        list(video_frames.read(str(tmp_path / 'x.mpg')))
