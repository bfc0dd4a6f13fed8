import base64
import json
import re

import numpy as np

from seqface_jax import models
from seqface_jax.evaluation import report, scoring, streaming, tables
from seqface_jax.evaluation.split_evaluation import Shown, Timeline
from tests.helpers import bumpy_face

SIDE = 32
EVIL = '</script><script>alert(1)</script>'


def _subjects(known):
    face = bumpy_face.position_map_of(0, SIDE)
    mask = np.ones((SIDE, SIDE), bool)
    points, scans = np.zeros((1, 5, 3)), [bumpy_face.scan_of(face)]
    truth = (mask if known else ~mask)[None]
    return scoring.Subjects([EVIL], scans, points, face[None], truth, [], face[None])


def _shown(known=True):
    subjects = _subjects(known)
    mask = np.ones((SIDE, SIDE), bool)
    other = bumpy_face.position_map_of(1, SIDE)

    def answers(model, count, face):
        condition = streaming.Condition(model, 'latest' if count else None, 'test', count)
        return streaming.Answers(condition, models.Prediction(face[None]), True, mask, None)

    frames = [np.full((3, 32, 32, 3), 90, np.uint8)]
    told = [answers('ours', count, subjects.maps[0] + 0.5 * count) for count in (1, 3)]
    told[1] = answers('ours', 3, other)
    timeline = Timeline('ours', (1, 3), told, frames)
    return Shown('test', subjects, frames, [answers('mean_face', None, other)], [timeline])


def _array(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def test_the_scene_holds_the_faces_their_errors_and_each_topology_once():
    scene = report.scene([_shown()])
    (triangles,) = scene['triangles']
    (person,) = scene['people']
    ours, mean = person['models']
    assert [moment['num_frames'] for moment in ours['moments']] == [1, 3]
    assert (ours['name'], mean['name'], len(ours['frames'])) == ('ours', 'mean_face', 3)
    points = _array(person['scan']['points'], np.int16).reshape(-1, 3) / scene['units_per_mm']
    np.testing.assert_allclose(points, _subjects(True).maps[0].reshape(-1, 3), atol=0.006)
    assert _array(triangles, np.uint16).max() == SIDE**2 - 1
    shifted, wrong = ours['moments']
    assert shifted['mean_mm'] < 1e-4 and wrong['mean_mm'] > 0.5  # Aligned rigidly: a shift is none.
    errors = _array(wrong['errors'], np.uint8) / scene['errors_per_mm']
    np.testing.assert_allclose(errors.mean(), wrong['mean_mm'], atol=0.05)


def test_without_truth_the_errors_are_distances_to_the_scan():
    (person,) = report.scene([_shown(known=False)])['people']
    shifted, wrong = person['models'][0]['moments']
    assert shifted['mean_mm'] < 0.8 * wrong['mean_mm']
    assert (_array(wrong['errors'], np.uint8) == 255).any()  # Beyond the scan's border.


def test_the_page_is_whole_asks_for_nothing_and_escapes_names(tmp_path):
    (tmp_path / 'curve.png').write_bytes(b'png')
    (tmp_path / 'predictions_test.png').write_bytes(b'png')
    row = {'model': EVIL, 'of': None, 'checkpoint': 'latest', 'split': 'test', 'num_frames': 4}
    row['vertex_mm'] = 1.5
    curve = row | {'metric': 'vertex_mm', 'mean': 1.0, 'low': None, 'high': None, 'change': None}
    curve |= {'change_low': None, 'change_high': None, 'from_first_share': None}
    found = tables.Results({'records': EVIL}, [], [curve], [], [])
    report.write(str(tmp_path / 'report.html'), found, [_shown()], str(tmp_path))
    page = (tmp_path / 'report.html').read_text()
    assert '{{' not in page and EVIL not in page
    assert not re.search(r'(?:src|href)="(?!data:)|https?://|url\(|@import', page)
    assert page.count('<img ') == 1
    data = re.search(r'type="application/json">(.*?)</script>', page, re.DOTALL).group(1)
    assert json.loads(data)['people'][0]['subject'] == EVIL


def _row(model, num_frames, value, split='test', **fields):
    row = {'model': model, 'of': None, 'checkpoint': 'latest', 'split': split}
    row |= {'num_frames': num_frames, 'vertex_mm': value, 'scan_to_mesh_mm': {'mean': 9.0}}
    return row | fields


def test_the_numbers_one_wants_stand_first_with_the_mean_face_beside_them():
    rows = [_row('ours', count, count + 0.25) for count in (1, 2, 8, 16)]
    rows += [_row('mean_face', None, 5.5, checkpoint=None), _row('ours', 1, 7.0, of='F001')]
    rows += [_row('ours', 1, None, split='train')]
    text = report._headline(rows)
    cells = re.findall(r'<t[hd]>(.*?)</t[hd]>', text)
    assert cells[:6] == ['', '1 frame', '2 frames', '4 frames', '8 frames', 'mean face']
    assert cells[6:12] == ['ours latest', '1.25', '2.25', '-', '8.25', '5.50']
    # Where equal points are not known, the distance from the scan has to do.
    assert cells[12:] == [*cells[:6], 'ours latest', '9.00', '-', '-', '-', '-']
    assert text.index('equal points') < text.index('from the points of the scan')


def test_captions_are_in_words():
    assert 'while small was trained' in report._caption('loss_small')
    assert report._caption('frames_vertex_mm').startswith('Distance between equal points')
    assert report._caption('some_other') == 'some other'
