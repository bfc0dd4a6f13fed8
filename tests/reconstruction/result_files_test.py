import base64
import csv
import functools
import json
import os
import re

import cv2
import numpy as np
import pytest

from seqface_jax.errors import UserError
from seqface_jax.reconstruction import contact_sheet, mouth, overlay, result_files
from seqface_jax.reconstruction.background_tasks import BackgroundTasks
from tests.helpers import glb_file, small_fit

_NAMES = ['jawOpen', 'eyeBlinkLeft']
_EVIL = '</script><script>alert(1)</script>'


def _face():
    vertices, triangles, _ = small_fit.mesh()
    shifts = np.zeros((2, *vertices.shape))
    return result_files.FinalFace(vertices, triangles, np.full(len(vertices), 0.5), shifts)


def _files(folder, **options):
    _, triangles, landmarks = small_fit.mesh()
    shown = overlay.MeshOverlay(triangles, landmarks)
    return result_files.ResultFiles(str(folder), shown, _NAMES, **options)


def _page_data(path):
    page = path.read_text()
    data = re.search(r'type="application/json">(.*?)</script>', page, re.DOTALL).group(1)
    return page, json.loads(data)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Returns the folder of a run of two photos that were used and one that was not."""
    folder = tmp_path_factory.mktemp('run')
    with _files(folder) as files:
        vertices = small_fit.mesh()[0]
        files.use('in/a.jpg', small_fit.photo(), small_fit.make(), 2.0, vertices)
        files.skip(_EVIL, None, 'not readable')
        fit = small_fit.make(yaw_deg=30, expression=(0.5, 0.0))
        files.use('in/a.jpg', small_fit.photo(), fit, 1.5, vertices)
        files.write('A face', _face())
    return folder


def test_each_used_photo_has_an_overlay_even_if_two_bear_one_name(run):
    names = sorted(path.name for path in (run / 'overlay').iterdir())
    assert names == ['0001_a.jpg', '0003_a.jpg']
    assert cv2.imread(str(run / 'overlay.jpg')).shape[1] > 900  # Three tiles.
    assert not (run / 'overlay.mp4').exists()


def test_the_page_is_whole_asks_for_nothing_and_escapes_names(run):
    page, data = _page_data(run / 'face.html')
    assert '{{' not in page and _EVIL not in page
    assert not re.search(
        r'(?:src|href)="(?!data:)|https?://(?!www\.w3\.org/2000/svg)|@import', page
    )
    names = ['a.jpg', os.path.basename(_EVIL), 'a.jpg']
    assert [frame['name'] for frame in data['frames']] == names
    assert data['frames'][1]['reason'] == 'not readable'


def test_the_faces_of_the_page_have_the_inside_of_the_mouth(tmp_path):
    vertices, triangles, _ = small_fit.mesh()
    inside = mouth.Mouth(
        *(np.zeros(0, int),) * 2, np.arange(3), np.full((1, 3), 1 / 3), np.array([20.0]), triangles
    )
    closed = inside.joined(vertices)
    face = result_files.FinalFace(
        closed, triangles, np.full(len(closed), 0.5), np.zeros((2, *closed.shape)), mouth=inside
    )
    with _files(tmp_path) as files:
        files.use('a.jpg', small_fit.photo(), small_fit.make(), 2.0, vertices)
        files.skip('b.jpg', None, 'not readable')
        files.write('A face', face)
    _, data = _page_data(tmp_path / 'face.html')
    assert data['inside_from'] == len(vertices)
    for points in (
        data['mesh']['points'],
        *(data['frames'][0][k] for k in ('before', 'expression')),
    ):
        shown = np.frombuffer(base64.b64decode(points), np.int16).reshape(-1, 3)
        expected = closed[-1] * data['units_per_mm']
        np.testing.assert_allclose(shown[len(vertices) :], expected[None], atol=1)
    landmarks = json.loads((tmp_path / 'landmarks.json').read_text())
    assert max(landmarks['vertices']) < len(vertices)
    header, array = glb_file.read(str(tmp_path / 'face_rigged.glb'))
    brightness = array(header['meshes'][0]['primitives'][0]['attributes']['COLOR_0'], 3)[:, 0]
    assert np.flatnonzero(brightness < 0.1).tolist() == [len(vertices)]  # It has no texture.


def test_the_page_says_what_each_frame_added(run):
    _, data = _page_data(run / 'face.html')
    first, skipped, second = data['frames']
    assert (first['band_mm'], second['band_mm']) == (2.0, 1.5)
    assert skipped['reprojection_px'] is None and second['reprojection_px'] == 1.25
    assert second['strongest'] == [['jawOpen', 0.5]] and second['angles_deg'][0] == 30
    assert first['picture'].startswith('data:image/jpeg') and first['before']
    band = np.frombuffer(base64.b64decode(data['band']), np.uint8) / data['bands_per_mm']
    np.testing.assert_allclose(band, 1.645 / np.sqrt(3), atol=0.03)  # Confidence 1 / 2.


def test_the_page_gives_the_files_away_as_they_are(run):
    _, data = _page_data(run / 'face.html')
    names = [file['name'] for file in data['downloads']]
    assert names == ['landmarks.json', 'expression.csv', 'face_rigged.glb']
    for file in data['downloads']:
        content = base64.b64decode(file['address'].split(',', 1)[1])
        assert content == (run / file['name']).read_bytes() and len(content) == file['bytes']


def test_photos_get_half_a_second_each(run):
    rows = list(csv.reader((run / 'expression.csv').read_text().splitlines()))
    assert [row[:3] for row in rows[1:]] == [
        ['0.0000', 'in/a.jpg', '0.0000'],
        ['0.5000', 'in/a.jpg', '0.5000'],
    ]


def test_a_video_gets_an_overlay_video_of_all_its_frames(tmp_path):
    with _files(tmp_path, frames_per_second=10.0) as files:
        files.use('0', small_fit.photo(), small_fit.make())
        files.skip('1', small_fit.photo(), 'blurred')
        files.use('2', small_fit.photo(), small_fit.make())
        files.write('A face', _face())
    capture = cv2.VideoCapture(str(tmp_path / 'overlay.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert not (tmp_path / 'overlay').exists()
    rows = list(csv.reader((tmp_path / 'expression.csv').read_text().splitlines()))
    assert [row[0] for row in rows[1:]] == ['0.0000', '0.2000']


def test_frames_given_to_a_thread_stand_in_the_video_in_order(tmp_path):
    levels = range(40, 240, 20)
    with _files(tmp_path, frames_per_second=10.0) as files, BackgroundTasks() as tasks:
        for level in levels:
            photo = np.full_like(small_fit.photo(), level)
            tasks.add(functools.partial(files.use, str(level), photo, small_fit.make()))
    capture, found = cv2.VideoCapture(str(tmp_path / 'overlay.mp4')), []
    while (read := capture.read())[0]:
        found.append(read[1][:20, :20].mean())
    np.testing.assert_allclose(found, levels, atol=8)


def test_a_long_run_keeps_a_bounded_number_of_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(result_files, '_MAX_KEPT', 6)
    monkeypatch.setattr(contact_sheet, 'skipped_tile', lambda photo: np.zeros((9, 9, 3), np.uint8))
    with _files(tmp_path) as files:
        for number in range(50):
            files.skip(str(number), None, 'blurred')
    pictures = [frame.picture is not None for frame in files._frames]
    assert len(pictures) == 50 and sum(pictures) <= 6 and pictures[0]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write to .*file/out.*choose another --output'):
        _files(tmp_path / 'file' / 'out')


def test_overlays_of_an_earlier_run_go_and_a_person_s_own_pictures_stay(tmp_path):
    for count in (3, 1):
        with _files(tmp_path) as files:
            for number in range(count):
                files.use(f'{number}.jpg', small_fit.photo(), small_fit.make())
            files.write('A face', _face())
            cv2.imwrite(str(tmp_path / 'overlay' / '0007_own.jpg'), small_fit.photo())
    names = sorted(path.name for path in (tmp_path / 'overlay').iterdir())
    assert names == ['0001_0.jpg', '0007_own.jpg']
    assert not (tmp_path / 'overlay.draft').exists()


def test_a_run_that_breaks_off_touches_no_overlay(tmp_path):
    with _files(tmp_path) as files:
        files.use('a.jpg', small_fit.photo(), small_fit.make())
        files.write('A face', _face())
    with pytest.raises(ZeroDivisionError), _files(tmp_path) as files:
        files.use('b.jpg', small_fit.photo(), small_fit.make())
        raise ZeroDivisionError
    assert [path.name for path in (tmp_path / 'overlay').iterdir()] == ['0001_a.jpg']
    assert not (tmp_path / 'overlay.draft').exists()


def test_landmarks_of_a_shrunk_frame_lie_on_the_frame_of_the_file(tmp_path):
    for scale in (1.0, 0.5):
        with _files(tmp_path / str(scale)) as files:
            files.use('a', small_fit.photo(), small_fit.make(), scale=scale)
            files.write('A face', _face())
    plain, shrunk = (
        json.loads((tmp_path / name / 'landmarks.json').read_text())['frames'][0]['px']
        for name in ('1.0', '0.5')
    )
    np.testing.assert_allclose(shrunk, 2 * np.array(plain), atol=0.02)


def test_times_of_frames_are_those_of_the_video(tmp_path):
    with _files(tmp_path, frames_per_second=30) as files:
        for seconds in (0.0, 0.5, 0.75):
            files.use('0', small_fit.photo(), small_fit.make(), seconds=seconds)
        files.write('A face', _face())
    rows = list(csv.DictReader((tmp_path / 'expression.csv').read_text().splitlines()))
    assert [float(row['seconds']) for row in rows] == [0.0, 0.5, 0.75]
