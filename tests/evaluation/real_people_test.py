"""`run_eval.py --real` on a look-alike tree: bumpy faces, and a run that answers by rote."""

import functools
import json
import re

import numpy as np
import pytest

from data_prep import scanned_people
from seqface_jax.errors import UserError
from seqface_jax.evaluation import real_page, real_people, report, scan_distance
from tests.helpers import forked_commands, scored_people


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp('real')
    scored_people.write_real(folder)
    return folder


@pytest.fixture(scope='module')
def results(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp('out') / 'eval'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_distance, 'NUM_POINTS', 2000)  # Enough for faces of 1,600 vertices.
        mean = real_people.ScoredFace(*scored_people.mesh(1), None, None)
        people = [
            functools.partial(scanned_people.read, path)
            for path in scanned_people.find(tree).values()
        ]
        runs = {'rote': scored_people.Rote()}
        text = real_people.evaluate(runs, mean, people, str(out), frames=(1, 2, 8))
    assert (out / 'real.md').read_text() == text
    assert (
        real_page.headline(json.loads((out / 'real.json').read_text()))
        in (out / 'real.html').read_text()
    )
    return json.loads((out / 'real.json').read_text()), text


def _row(results, person, model, photos):
    return next(
        row
        for row in results['rows']
        if (row['person'], row['model'], row['photos']) == (person, model, photos)
    )


def test_each_person_is_scored_after_the_photos_that_were_used_and_all_of_them(results):
    rows, _ = results
    photos = [row['photos'] for row in rows['rows'] if row['person'] == 'anna']
    assert photos == [None, 1, 2, 3]


def test_the_face_gets_better_as_it_is_drawn_in_less(results):
    rows, _ = results
    errors = [_row(rows, 'anna', 'rote', count)['mean_mm'] for count in (1, 2, 3)]
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2] > 0


def test_the_mean_face_is_right_for_the_person_that_it_is(results):
    rows, _ = results
    assert _row(rows, 'bert', 'mean_face', None)['mean_mm'] < 0.05
    assert _row(rows, 'anna', 'mean_face', None)['mean_mm'] > 0.2


def test_a_band_of_three_mm_holds_nearly_all_and_pixels_are_averaged_by_squares(results):
    rows, _ = results
    row = _row(rows, 'anna', 'rote', 2)
    assert row['inside_band'] > 0.95
    assert row['reprojection_px'] == pytest.approx(np.sqrt((5.0**2 + 6.0**2) / 2))
    assert _row(rows, 'anna', 'mean_face', None)['inside_band'] is None


def test_what_was_not_used_is_listed_with_the_reason(results):
    rows, text = results
    skipped = [(own['person'], own['reason']) for own in rows['skipped_photos']]
    assert skipped == [('anna', 'no face found'), ('bert', 'no face found')]
    assert 'photos that were not used: 2' in text


def test_means_over_people_stand_beside_the_mean_face_of_the_same_people(results):
    rows, text = results
    (row,) = [own for own in rows['means'] if own['photos'] == 2]
    own = [_row(rows, name, 'rote', 2)['mean_mm'] for name in ('anna', 'bert')]
    assert row['mean_mm'] == pytest.approx(np.mean(own))
    assert row['people'] == 2
    assert '| rote | 2 | 2 |' in text


def test_the_page_begins_with_the_errors_and_the_mean_face_of_the_same_people(results):
    rows, _ = results
    cells = re.findall(r'<t[hd]>(.*?)</t[hd]>', real_page.headline(rows))
    assert cells[:4] == ['', '1 photo', '2 photos', 'all photos']
    last = [_row(rows, 'anna', 'rote', 3)['mean_mm'], _row(rows, 'bert', 'rote', 3)['mean_mm']]
    assert cells[4] == 'rote' and cells[7] == f'{np.mean(last):.2f}'
    mean = [_row(rows, name, 'mean_face', None)['mean_mm'] for name in ('anna', 'bert')]
    assert cells[8:] == ['mean face, the same people', *3 * [f'{np.mean(mean):.2f}']]


def test_the_page_of_records_shows_real_people_first_where_they_were_scored(results, tmp_path):
    rows, _ = results
    assert report._real(str(tmp_path)) == ''
    rows = json.loads(json.dumps(rows).replace('anna', '<b>'))
    (tmp_path / 'real.json').write_text(json.dumps(rows))
    text = report._real(str(tmp_path))
    assert real_page.headline(rows) in text and '&lt;b&gt;' in text and '<b>' not in text


def test_a_scan_without_a_stated_nose_tip_is_registered(tmp_path):
    from data_prep.scans import scan_io
    from tests.helpers.simulated_scan import scan_of, true_face

    turned = scan_of(true_face(3), np.random.default_rng(0), side=90)
    (tmp_path / 'anna').mkdir()
    scan_io.write_ply(tmp_path / 'anna' / 'scan.ply', turned)
    scored_people.write_photo(tmp_path / 'anna' / 'front.png', 50)
    person = scanned_people.read(scanned_people.find(tmp_path)['anna'])
    near = person.vertices[np.abs(person.vertices[:, 0]) < 10]
    assert abs(near[:, 2].max() - person.nose_tip[2]) < 3
    assert person.photos == str(tmp_path / 'anna')


@pytest.mark.parametrize(
    ('spoil', 'sentence'),
    [
        (lambda own: (own / 'tip.txt').write_text('1 2'), 'holds 2 numbers'),
        (lambda own: (own / 'scan.ply').write_bytes(b'ply\nformat'), 'scan.ply'),
    ],
)
def test_a_person_that_cannot_be_read_is_named(tmp_path, spoil, sentence):
    scored_people.write_real(tmp_path, names=('anna',))
    spoil(tmp_path / 'anna')
    with pytest.raises(UserError, match=sentence):
        scanned_people.read(scanned_people.find(tmp_path)['anna'])


@pytest.mark.slow
def test_the_command_names_what_is_missing():
    for flags, sentence in (
        (['--real=absent'], '--real=absent is not a folder'),
        ([], '--workdir is'),
    ):
        done = forked_commands.run('run_eval.py', *flags)
        assert done.returncode == 1
        assert done.stderr.startswith(f'error: {sentence}')


def test_two_scans_of_one_person_and_a_folder_of_nobody_are_refused(tmp_path):
    with pytest.raises(UserError, match='holds no folder with photos and a scan'):
        scanned_people.find(tmp_path)
    scored_people.write_real(tmp_path, names=('anna',))
    (tmp_path / 'anna' / 'other.ply').write_bytes((tmp_path / 'anna' / 'scan.ply').read_bytes())
    with pytest.raises(UserError, match='holds 2 scans'):
        scanned_people.find(tmp_path)
