"""The flagship in the table of the other systems, by a stand-in that answers at once."""

import zlib

import numpy as np
import pytest

from configs import bu4dfe, cpu
from seqface_jax import checkpoints, evaluate
from seqface_jax.data import input_pipeline
from seqface_jax.errors import UserError
from seqface_jax.evaluation import metrics, runs, streaming
from seqface_jax.reconstruction import flagship, map_answers
from seqface_jax.reconstruction.point_reconstructor import PointReconstructor
from tests import conftest
from tests.helpers import grey_faces, small_run


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    """Yields the workdir of a flagship that has no records; meanwhile the stand-in is restored."""
    workdir = tmp_path_factory.mktemp('runs') / 'points'
    checkpoints.write_config(str(workdir), cpu.get_config())

    def restore(workdir, which, *, lens_of):
        assert lens_of is flagship.crop_lens
        return grey_faces.GreyReconstructor()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PointReconstructor, 'restore', restore)
        yield str(workdir)


def _options(data_dir, **changes):
    named = {'data_dir': str(data_dir), 'data_name': 'tiny', 'checkpoints': ('best_validation',)}
    return evaluate.EvaluationOptions(**named | {'splits': ('test',)} | changes)


@pytest.fixture(scope='module')
def rows(workdir, tiny_records):
    """Returns the rows of one person of test, by model."""
    options = _options(tiny_records, frames=(3,), max_subjects=1, permutations=2)
    return {row['model']: row for row in evaluate.evaluate([workdir], options)}


def test_a_row_is_what_the_reconstructor_gives_for_the_same_frames(rows, tiny_records):
    records = checkpoints.record_options(str(tiny_records), 'tiny')
    split = input_pipeline.open_dataset(records).split('test').evenly(1)
    reconstructor, seed = grey_faces.GreyReconstructor(), zlib.crc32(split.subject_ids[0].encode())
    drawn = streaming.draw_frames(split.frame_index[0].sequences, 3, seed=[0, seed])
    state, face, unused = reconstructor.initial_state(), reconstructor.mean_face(), 0
    for photo in split.frames(0, drawn):
        assert photo.shape == (256, 256, 3)  # As the records have them.
        state, updated = reconstructor.update(state, photo)
        face, unused = updated or face, unused + (updated is None)
    truth, mask = (split.subjects[name][0] for name in ('true_position_map', 'true_mask'))
    found, row = map_answers.answer_of(face).position_map, rows['points']
    expected = metrics.vertex_mm(found, truth, mask.astype(bool))
    np.testing.assert_allclose(row['vertex_mm'], expected, rtol=1e-5)
    assert row['unused_frames'] == pytest.approx(unused / 3) and 0 < unused < 3


def test_all_rows_of_a_run_are_there_for_the_flagship_too(rows):
    derived = ('averaged_single_frames', 'repeated_first_frame', 'no_expression')
    assert {name for name, row in rows.items() if row['of'] == 'points'} == set(derived)
    row = rows['points']
    assert row['order_spread'] is not None and row['frame_mm'] is not None
    np.testing.assert_allclose(row['sigma_mm'], grey_faces.DEVIATION_MM / np.sqrt(3), rtol=1e-5)
    assert row['selection'] is None and row['coverage'] > 0.5
    assert rows['mean_face']['unused_frames'] is None


def _load(workdirs, options):
    return runs.load(workdirs, options, lambda workdir, checkpoint, says_frames: None)


def test_a_flagship_without_records_says_which_flags_name_some(workdir, tiny_records):
    for data_dir, data_name in ((None, None), (str(tiny_records), None), (None, 'tiny')):
        options = evaluate.EvaluationOptions(data_dir=data_dir, data_name=data_name)
        with pytest.raises(UserError, match='with --data_dir and --data_name, or give --real'):
            _load([workdir], options)


def test_the_records_of_its_config_or_of_the_run_before_serve(workdir, tiny_records, tmp_path):
    config = bu4dfe.get_config()
    assert (config.eval.data_dir, config.eval.data_name) == ('data', 'bu4dfe')
    config.eval.update(data_dir=str(tiny_records), data_name='tiny')
    checkpoints.write_config(str(tmp_path / 'bu4dfe'), config)
    first = str(tmp_path / 'bu4dfe')
    other = small_run.write(tmp_path / 'other')
    for workdirs in ([first, workdir], [workdir, other], [other, workdir]):
        options = evaluate.EvaluationOptions() if first in workdirs else _options(tiny_records)
        found = list(_load(workdirs, options).values())
        assert [run.config.data.name for run in found] == ['tiny', 'tiny']
        assert [run.reads for run in found] == ['sequence', 'sequence']
        assert found[0].training_people().subject_ids == sorted(conftest.SPLITS['train'])


def test_records_without_people_to_train_on_say_whose_baselines_to_take(workdir, tmp_path):
    conftest.write_records(tmp_path, splits={'test': ('F006',)})
    with pytest.raises(UserError, match='put a run that was trained on records first'):
        evaluate.evaluate([workdir], _options(tmp_path, output=str(tmp_path)))
    conftest.write_records(tmp_path, 'beside', splits={'train': ('F001', 'F002')})
    (run,) = _load([workdir], _options(tmp_path)).values()
    assert run.training_people('beside').subject_ids == ['F001', 'F002']
