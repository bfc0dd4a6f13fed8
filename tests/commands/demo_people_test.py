import contextlib
import csv
import io
import re

import cv2
import numpy as np
import pytest

from seqface_jax import demo
from seqface_jax.errors import UserError
from seqface_jax.photos import file_kinds
from seqface_jax.reconstruct import Reconstructor
from tests.helpers import forked_commands
from tests.helpers.small_raw_tree import draw_face


@pytest.fixture(scope='module', autouse=True)
def restored(small_reconstructor):
    """Makes every run that is restored the same compiled one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reconstructor, 'restore', lambda *args, **options: small_reconstructor)
        yield


def _face(shift=0):
    return draw_face(200, 160, (80 + shift, 100), 45)


def _write(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])


def _film(path, pictures):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25, (width, height))
    for picture in pictures:
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    """Returns a folder of two people with photos, one with a video, and one without a face."""
    folder = tmp_path_factory.mktemp('people')
    for name in ('1.png', '2.png'):
        _write(folder / 'anna' / name, _face())
    _write(folder / '<boris>' / '1.png', _face(5))
    _film(folder / 'carl' / 'film.avi', [_face(shift) for shift in range(3)])
    _write(folder / 'dora' / '1.png', np.full((200, 160, 3), 90, np.uint8))
    (folder / 'empty').mkdir()
    return folder


def _rows(path):
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def reconstructed(people, tmp_path_factory):
    """Returns the output folder, the lines and what stands on stderr, of `people`."""
    output, errors = tmp_path_factory.mktemp('out'), io.StringIO()
    with contextlib.redirect_stderr(errors):
        lines = demo.run_people('folders', None, str(people), str(output), texture=False)
    return output, lines, errors.getvalue()


def test_each_folder_is_a_person_with_a_row_and_a_card(reconstructed):
    output, lines, _ = reconstructed
    rows = {row['person']: row for row in _rows(output / 'people.csv')}
    assert {name: row['result'] for name, row in rows.items()} == {
        '<boris>': 'used',
        'anna': 'used',
        'carl': 'used',
        'dora': 'skipped',
        'empty': 'skipped',
    }
    assert (rows['anna']['frames_used'], rows['carl']['frames_used']) == ('2', '3')
    assert 'no face in any of the 1 frames' in rows['dora']['detail']
    assert 'holds nothing' in rows['empty']['detail']
    assert 'anna: used 2 of 2 frames' in lines
    for name in ('anna', 'carl'):
        assert (output / name / 'face.ply').exists()
        assert (output / rows[name]['page']).exists()
    page = (output / 'index.html').read_text()
    assert page.count('<li') == 5 and page.count('<img ') == 3
    assert '{{' not in page and '<boris>' not in page and '&lt;boris&gt;' in page
    assert page.count('src="data:image/png') == 3  # Without a background: for dark pages too.
    assert 'href="anna/face.png"' in page  # The small run has no page of its own.
    assert not re.search(r'src="(?!data:)|https?://|url\(|@import', page)


def test_the_progress_is_over_all_frames_of_all_people(reconstructed):
    assert '7/7' in reconstructed[2]  # Two, one and one photos and three frames.


def test_an_output_among_the_people_is_no_person(tmp_path):
    _write(tmp_path / 'anna' / '1.png', _face())
    for _ in range(2):
        demo.run_people('folders', None, str(tmp_path), str(tmp_path / 'out'), texture=False)
    assert [row['person'] for row in _rows(tmp_path / 'out' / 'people.csv')] == ['anna']


def test_a_folder_that_cannot_be_read_does_not_keep_the_others_from_being(tmp_path, monkeypatch):
    for name in ('anna', 'berta'):
        _write(tmp_path / name / '1.png', _face())
    of_path = file_kinds.of_path

    def refuse(path):
        if 'anna' in str(path):
            raise PermissionError(13, 'Permission denied', str(path))
        return of_path(path)

    monkeypatch.setattr(file_kinds, 'of_path', refuse)
    demo.run_people('folders', None, str(tmp_path), str(tmp_path / 'out'), texture=False)
    results = {row['person']: row['result'] for row in _rows(tmp_path / 'out' / 'people.csv')}
    assert results == {'anna': 'used', 'berta': 'used'}


def test_folders_without_a_person_are_told_in_a_sentence(tmp_path):
    (tmp_path / 'a').mkdir()
    with pytest.raises(UserError, match='no folder with photos or a video.*one for each person'):
        demo.run_people('folders', None, str(tmp_path), str(tmp_path / 'out'))
    (tmp_path / 'b.txt').write_text('')
    with pytest.raises(UserError, match='is no folder: --people=folders takes'):
        demo.run_people('folders', None, str(tmp_path / 'b.txt'), str(tmp_path / 'out'))
    _write(tmp_path / 'a' / '1.png', np.full((200, 160, 3), 90, np.uint8))
    with pytest.raises(UserError, match='no face of anybody.*a: no face in any'):
        demo.run_people('folders', None, str(tmp_path), str(tmp_path / 'out'))
    assert _rows(tmp_path / 'out' / 'people.csv')[0]['result'] == 'skipped'


def test_everybody_on_a_video_gets_a_folder_and_each_face_a_row(tmp_path):
    both = np.concatenate([_face(), _face()], 1)
    alone = np.concatenate([_face(), np.full_like(_face(), 128)], 1)
    _film(tmp_path / 'film.avi', [both, both, alone])
    output = tmp_path / 'out'
    demo.run_people('all', None, str(tmp_path / 'film.avi'), str(output), texture=False)
    assert [row['frames_used'] for row in _rows(output / 'people.csv')] == ['3', '2']
    faces = _rows(output / 'people_frames.csv')
    assert [(row['frame'], row['person'], row['result']) for row in faces] == [
        *[(number, person, 'used') for number in '12' for person in ('person_01', 'person_02')],
        ('3', 'person_01', 'used'),
    ]
    assert float(faces[0]['x1']) < 200 < float(faces[1]['x0']) + 100
    absent = _rows(output / 'person_02' / 'frames.csv')[2]
    assert (absent['result'], absent['x0']) == ('skipped', '')


def test_nobody_on_any_photo_is_told_in_a_sentence(tmp_path):
    _write(tmp_path / 'photos' / '1.png', np.full((200, 160, 3), 90, np.uint8))
    with pytest.raises(UserError, match='no face in any of the 1 frames of .* can be used'):
        demo.run_people('all', None, str(tmp_path / 'photos'), str(tmp_path / 'out'))


@pytest.mark.slow
def test_the_command_refuses_what_is_of_one_person(tmp_path):
    command = ['run_demo.py', '--people=all', f'--input={tmp_path}', '--view']
    done = forked_commands.run(*command, f'--output={tmp_path}/out')
    assert done.returncode == 1
    assert '--view and --state are of one person: leave --people out' in done.stderr
