import csv
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from seqface_jax import demo
from seqface_jax.errors import UserError
from tests import evaluate_test
from tests.small_raw_tree import draw_face

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _draw():
    return draw_face(400, 320, (160, 200), 90)


@pytest.fixture(scope='module')
def workdir(tiny_records, tmp_path_factory):
    """Returns a run of untrained weights."""
    folder = tmp_path_factory.mktemp('runs') / 'small'
    evaluate_test.make_run(folder, tiny_records)
    return str(folder)


@pytest.fixture
def photos(tmp_path):
    """Returns a folder of two photos of a face, one of nothing, and one damaged."""
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name in ('1.jpg', '2.png'):
        cv2.imwrite(str(folder / name), _draw()[..., ::-1])
    cv2.imwrite(str(folder / '0.jpg'), np.full((300, 300, 3), 90, np.uint8))
    (folder / '3.jpg').write_bytes(b'not a picture')
    (folder / 'notes.txt').write_text('not a photo')
    return str(folder)


def test_the_command_writes_a_face_a_picture_and_what_became_of_each_photo(
    workdir, photos, tmp_path
):
    output = tmp_path / 'new' / 'out'
    command = [sys.executable, 'run_demo.py', f'--workdir={workdir}', f'--input={photos}']
    done = subprocess.run(
        command + [f'--output={output}'], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 'wrote' in done.stdout and 'no face found' in done.stdout
    assert (output / 'face.ply').read_bytes().startswith(b'ply\nformat binary_little_endian')
    assert cv2.imread(str(output / 'face.png')).std() > 10
    with open(output / 'frames.csv', newline='') as file:
        rows = {os.path.basename(row['photo']): row for row in csv.DictReader(file)}
    assert {name: row['result'] for name, row in rows.items()} == {
        '0.jpg': 'skipped',
        '1.jpg': 'used',
        '2.png': 'used',
        '3.jpg': 'skipped',
    }
    assert 'not a readable picture' in rows['3.jpg']['detail']


def test_the_command_ends_with_one_sentence_on_bad_input(workdir, tmp_path):
    command = [sys.executable, 'run_demo.py', f'--workdir={workdir}']
    command += [f'--input={tmp_path}/none', f'--output={tmp_path}/out']
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr.strip().splitlines()[-1] == f'error: no such folder or photo: {tmp_path}/none'
    )


def test_one_photo_is_enough(workdir, photos, tmp_path):
    lines = demo.run(workdir, os.path.join(photos, '1.jpg'), str(tmp_path / 'out'))
    assert lines[-1] == f'wrote {tmp_path}/out/frames.csv'


def test_photos_without_a_face_are_named_with_the_reason(workdir, photos, tmp_path):
    with pytest.raises(UserError, match='no face in any of the 1 photos of .*no face found'):
        demo.run(workdir, os.path.join(photos, '0.jpg'), str(tmp_path / 'out'))


def test_a_folder_without_photos_is_named(workdir, tmp_path):
    with pytest.raises(UserError, match='no photo in the folder'):
        demo.run(workdir, str(tmp_path), str(tmp_path / 'out'))


@pytest.mark.parametrize('source', ['holiday.mp4', '0'])
def test_videos_and_cameras_are_said_to_come_later(workdir, source, tmp_path):
    with pytest.raises(UserError, match='not supported yet'):
        demo.run(workdir, source, str(tmp_path / 'out'))


def test_an_unknown_checkpoint_is_refused(workdir, photos, tmp_path):
    with pytest.raises(UserError, match="no checkpoint 'best': choose of"):
        demo.run(workdir, photos, str(tmp_path / 'out'), 'best')
