"""Runs scored by the protocols of MICC Florence, setting by setting."""

import csv
import io
import re

import numpy as np
import pytest

from configs import cpu
from seqface_jax import checkpoints, florence
from seqface_jax.data import input_pipeline
from seqface_jax.errors import UserError
from seqface_jax.evaluation import florence_scores, protocols
from seqface_jax.geometry import surface
from seqface_jax.reconstruction import map_answers
from seqface_jax.reconstruction.point_reconstructor import PointReconstructor
from tests.helpers import grey_faces, small_run


@pytest.fixture(scope='module', autouse=True)
def quick_scores():
    """Scores by a distance of middles: protocols_test.py tests the real ones."""

    def score(protocol, predicted, target):
        apart = np.linalg.norm(predicted.vertices.mean(axis=0) - target.points.mean(axis=0))
        return float(apart) / (1 + protocols.NAMES.index(protocol))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocols, 'score', score)
        yield


@pytest.fixture(scope='module')
def workdir(tiny_records, tmp_path_factory):
    """An untrained run that knows where it would have been trained."""
    folder = tmp_path_factory.mktemp('runs') / 'untrained'
    config, _, variables = small_run.make()
    config = config.copy_and_resolve_references()
    config.data.update(dir=str(tiny_records), name='tiny')
    checkpoints.write_config(str(folder), config)
    checkpoints.save(str(folder), 'best_validation', variables, {})
    return str(folder)


@pytest.fixture(scope='module')
def scores(workdir, tiny_records):
    return florence.evaluate([workdir], str(tiny_records), 'tiny', frames=(1, 3))


def test_every_subject_has_a_value_in_every_row_of_every_protocol(scores):
    rows = {}
    for score in scores:
        rows.setdefault(score[:4], []).append(score.subject)
        assert score.value >= 0 and np.isfinite(score.value)
    expected = {(name, 'mean_face', None, None) for name in protocols.NAMES}
    expected |= {
        (name, 'untrained', setting, count)
        for name in protocols.NAMES
        for setting in ('Angry', 'Happy')
        for count in (1, 3)
    }
    assert set(rows) == expected
    assert all(subjects == ['F005', 'M005'] for subjects in rows.values())


def test_the_table_prints_the_protocol_and_unit_of_every_row(scores):
    lines = florence_scores.table(scores).splitlines()
    assert len(lines) == 2 + 4 * 5
    assert re.match(
        r'\| thesis \(of the bounding box\) \| mean_face \| - \| - \| 2 \| \d', lines[2]
    )
    crop = [line for line in lines if line.startswith('| crop_95mm (mm) | untrained | Happy | 3')]
    own = [s.value for s in scores if s[:4] == ('crop_95mm', 'untrained', 'Happy', 3)]
    (line,) = crop
    assert f'| 2 | {np.mean(own):.2f} | {np.std(own):.2f} |' in line
    assert line.endswith('| - |')  # Two subjects are too few for a p.


def test_the_values_per_subject_are_a_table_of_their_own(scores):
    rows = list(csv.DictReader(io.StringIO(florence_scores.csv_text(scores))))
    assert len(rows) == len(scores)
    assert float(rows[0]['value']) == scores[0].value and rows[0]['subject'] == 'F005'


def test_the_same_draw_is_shown_again(workdir, tiny_records, scores):
    again = florence.evaluate([workdir], str(tiny_records), 'tiny', names=['thesis'], frames=(1,))
    wanted = [s for s in scores if s.protocol == 'thesis' and s.num_frames in (None, 1)]
    assert [s[:5] for s in again] == [s[:5] for s in wanted]
    np.testing.assert_allclose([s.value for s in again], [s.value for s in wanted], rtol=1e-4)


def test_without_the_records_of_its_training_there_is_no_mean_face(
    tmp_path, tiny_records, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # Its data.dir is relative: here a quickstart may have made it.
    run = small_run.write(tmp_path / 'run')
    found = florence.evaluate([run], str(tiny_records), 'tiny', names=['thesis'], frames=(1,))
    assert {score.model for score in found} == {'run'}
    assert florence_scores.table(found).splitlines()[2].endswith('| - |')


@pytest.fixture
def flagship(tmp_path, monkeypatch):
    """The workdir of a flagship; a stand-in that answers at once is restored."""
    folder = tmp_path / 'points'
    checkpoints.write_config(str(folder), cpu.get_config())
    restored = lambda workdir, which, *, lens_of: grey_faces.GreyReconstructor()  # noqa: E731
    monkeypatch.setattr(PointReconstructor, 'restore', restored)
    return str(folder)


def test_the_flagship_is_scored_on_its_mesh_after_the_frames_of_each_setting(
    flagship, tiny_records
):
    """The number of frames is more than there are: all of a setting, whatever their order."""
    found = florence.evaluate([flagship], str(tiny_records), 'tiny', names=['thesis'], frames=(9,))
    records = checkpoints.record_options(str(tiny_records), 'tiny')
    split = input_pipeline.open_dataset(records).split('test')
    mask, expected = _crop_mask(), {}
    for index, subject in enumerate(split.subject_ids):
        own = split.frame_index[index].sequences
        for setting in sorted(set(own)):
            reconstructor = grey_faces.GreyReconstructor()
            state, face = reconstructor.initial_state(), reconstructor.mean_face()
            for photo in split.frames(index, np.flatnonzero(np.asarray(own) == setting)):
                state, new = reconstructor.update(state, photo)
                face = new or face
            points = map_answers.answer_of(face).position_map[mask]
            apart = points.mean(0) - split.subjects['points'][index].mean(0)
            expected[subject, str(setting)] = np.linalg.norm(apart)
    values = {(s.subject, s.setting): s.value for s in found if s.model == 'points'}
    assert values == pytest.approx(expected, rel=1e-4)
    assert len(values) == 4 and len(set(values.values())) == 4


def test_the_mean_face_beside_a_flagship_that_comes_first_is_its_own(
    flagship, workdir, tiny_records
):
    found = florence.evaluate([flagship, workdir], str(tiny_records), 'tiny', frames=(1,))
    assert {score.model for score in found} == {'mean_face', 'points', 'untrained'}
    mean = map_answers.answer_of(grey_faces.GreyReconstructor().mean_face()).position_map
    scan = _scan_points(tiny_records)
    (own,) = [s.value for s in found if s[:2] == ('thesis', 'mean_face') and s.subject == 'F005']
    expected = np.linalg.norm(mean[_crop_mask()].mean(0) - scan.mean(0))
    assert own == pytest.approx(expected, rel=1e-4)


def _scan_points(records):
    """Returns the points of the scan of the first subject of test."""
    options = checkpoints.record_options(str(records), 'tiny')
    return input_pipeline.open_dataset(options).split('test').subjects['points'][0]


def _crop_mask():
    mean = map_answers.answer_of(grey_faces.GreyReconstructor().mean_face()).position_map
    return surface.crop_mask(mean)


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'names': ['now']}, "no protocol 'now': choose of thesis"),
        ({'frames': (0,)}, 'must be at least 1'),
        ({'data_name': 'florence'}, "no records of 'florence'"),
    ],
)
def test_a_wrong_request_gives_one_sentence(workdir, tiny_records, options, sentence):
    options = {'data_name': 'tiny'} | options
    with pytest.raises(UserError, match=sentence):
        florence.evaluate([workdir], str(tiny_records), **options)
