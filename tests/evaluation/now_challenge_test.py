"""`run_eval.py --now` on a look-alike tree: bumpy faces, and a run that answers by rote."""

import functools
import json

import pytest

from data_prep import now_files
from seqface_jax import evaluate
from seqface_jax.errors import UserError
from seqface_jax.evaluation import now_challenge, real_people
from tests.helpers import scored_people, small_run


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp('now')
    scored_people.write_now(folder)
    return folder


@pytest.fixture(scope='module')
def results(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp('out')
    vertices, triangles = scored_people.mesh(1)
    mean = real_people.ScoredFace(vertices, triangles, None, None)
    landmarks = scored_people.landmarks_68(vertices)
    people = [functools.partial(now_files.read, own) for own in now_files.find(tree)]
    runs = {'packaged run': scored_people.Rote()}
    text = now_challenge.evaluate(runs, mean, landmarks, people, str(out), frames=(1, 2, 4, 8))
    assert (out / 'now.md').read_text() == text
    return json.loads((out / 'now.json').read_text()), text


def _row(rows, model, kind, photos):
    return next(
        row for row in rows if (row['model'], row['kind'], row['photos']) == (model, kind, photos)
    )


def test_every_photo_of_the_list_gives_a_face_and_kinds_have_their_rows(results):
    rows, _ = results
    row = _row(rows['single'], 'packaged run', 'all', 1)
    assert (row['people'], row['faces'], row['without']) == (2, 8, 2)
    selfie = _row(rows['single'], 'packaged run', 'selfie', 1)
    assert (selfie['faces'], selfie['without']) == (4, 2)


def test_where_no_face_is_found_the_mean_face_stands_in(results):
    """Of the selfies one of two shows nobody: they are nearer to the mean face's row."""
    rows, _ = results
    single = rows['single']
    mean = _row(single, 'mean_face', 'selfie', None)['mean_mm']
    neutral = _row(single, 'packaged run', 'multiview_neutral', 1)['mean_mm']
    selfie = _row(single, 'packaged run', 'selfie', 1)['mean_mm']
    assert selfie == pytest.approx((mean + neutral) / 2, rel=0.02)


def test_several_photos_give_one_face_of_each_person(results):
    rows, text = results
    photos = [row['photos'] for row in rows['several'] if row['model'] == 'packaged run']
    assert photos == [1, 2, 4]  # Nobody has eight.
    few = _row(rows['several'], 'packaged run', 'all', 1)
    many = _row(rows['several'], 'packaged run', 'all', 4)
    assert few['faces'] == many['faces'] == 2
    assert many['mean_mm'] < few['mean_mm']
    assert text.index('One photo, one face') < text.index('Several photos of a person')


def test_the_draw_of_photos_is_the_same_each_time_and_holds_each_once(tree):
    person = now_files.find(tree)[0]
    order = now_challenge.draw(person)
    assert order == now_challenge.draw(person)
    assert sorted(order) == sorted(path for _, path in person.photos)


def test_landmarks_are_read_whatever_the_order_of_their_attributes(tree):
    person = now_files.read(now_files.find(tree)[0])
    assert person.landmarks.shape == (7, 3)
    assert person.landmarks[0, 0] < person.landmarks[1, 0] < person.landmarks[3, 0]


@pytest.mark.parametrize(
    ('name', 'content', 'sentence'),
    [
        ('imagepathsvalidation.txt', 'a/b/c.jpg', 'there is no .*c.jpg'),
        ('imagepathsvalidation.txt', 'c.jpg', 'line 1'),
        ('imagepathsvalidation.txt', '', 'is empty'),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path, name, content, sentence):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=sentence):
        now_files.find(tmp_path)


def test_landmarks_that_are_not_seven_are_refused(tmp_path):
    path = tmp_path / 'a.pp'
    path.write_text('<PickedPoints><point x="1" y="2" z="3"/></PickedPoints>')
    with pytest.raises(UserError, match='holds 1 points'):
        now_files.read_landmarks(path)
    path.write_text('seven points')
    with pytest.raises(UserError, match='no file of picked points'):
        now_files.read_landmarks(path)


def test_a_run_without_landmarks_is_refused(tmp_path):
    workdir = small_run.write(tmp_path / 'small')
    with pytest.raises(UserError, match='says no landmarks'):
        evaluate.score_now_challenge([workdir], [], str(tmp_path))
