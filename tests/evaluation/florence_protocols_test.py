"""Runs scored by the protocols of MICC Florence, setting by setting."""

import csv
import io
import re

import numpy as np
import pytest

from seqface_jax import checkpoints, florence
from seqface_jax.errors import UserError
from seqface_jax.evaluation import protocols
from tests.helpers import small_run


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
    lines = florence.table(scores).splitlines()
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
    rows = list(csv.DictReader(io.StringIO(florence._csv(scores))))
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
    assert florence.table(found).splitlines()[2].endswith('| - |')


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
