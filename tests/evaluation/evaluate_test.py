import csv
import functools
import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import tiny
from seqface_jax import checkpoints, evaluate, models
from seqface_jax.data import input_pipeline
from seqface_jax.errors import UserError
from seqface_jax.evaluation import reported_metrics, runs, split_evaluation, streaming
from seqface_jax.models import normalization
from seqface_jax.models.network import make_step
from seqface_jax.training.start import network_constants
from tests import conftest
from tests.helpers import forked_commands


@functools.cache
def drawn_variables():
    """Returns the untrained weights of all runs, which take a second to trace and compile."""
    model = models.create(tiny.get_config().model, 32)
    return checkpoints.draw_variables(model, 32, 0)


def make_run(workdir, data_dir, *, num_frames=(1, 3), **data):
    """Writes a run of untrained weights, around the training split's mean face."""
    config = tiny.get_config()
    config.data.update(dir=str(data_dir), name='tiny', image_size=32, cache_mib=8, **data)
    config.eval.num_frames = num_frames
    split = input_pipeline.open_dataset(config.data).split('train')
    model = models.create(config.model, 32)
    variables = drawn_variables()
    constants = network_constants(config, split)
    variables = variables | {'constants': variables.get('constants', {}) | constants}
    checkpoints.write_config(str(workdir), config)
    for which in ('best_validation', 'best_training'):
        checkpoints.save(str(workdir), which, variables, {})
    return config, model, variables


@pytest.fixture(scope='module')
def evaluated(tiny_records, tmp_path_factory):
    """Returns a run's workdir, evaluated on train and test."""
    workdir = tmp_path_factory.mktemp('runs') / 'small'
    make_run(workdir, tiny_records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split_evaluation, '_SHOWN_SUBJECTS', 1)  # Pictures of two take twice as long.
        conftest.quick_figures(patch)
        evaluate.evaluate([str(workdir)], evaluate.EvaluationOptions(max_subjects=2))
    return workdir


def _rows(workdir):
    with open(os.path.join(workdir, 'eval', 'results.json')) as file:
        return json.load(file)['rows']


def test_streaming_equals_the_answer_to_the_whole_sequence(tiny_records, tmp_path):
    config, model, variables = make_run(tmp_path / 'run', tiny_records)
    frames = np.random.default_rng(0).integers(256, size=(2, 4, 32, 32, 3), dtype=np.uint8)
    step = make_step(config, model)
    predictions, _ = streaming.stream(step, variables, list(frames), (1, 4))
    inputs = normalization.normalize_frames(frames, 'unit')
    whole = jax.jit(lambda x: model.apply(variables, x, train=False))(inputs)
    for streamed, place in zip(predictions, (0, 3), strict=True):
        np.testing.assert_allclose(streamed.position_map, whole.position_map[:, place], atol=1e-3)
        np.testing.assert_allclose(streamed.log_variance, whole.log_variance[:, place], atol=1e-4)


def test_there_is_a_row_for_every_checkpoint_split_and_number_of_frames(evaluated):
    found = {
        (row['model'], row['checkpoint'], row['split'], row['num_frames'])
        for row in _rows(evaluated)
    }
    expected = set()
    for split in ('train', 'test'):
        expected |= {('mean_face', None, split, None), ('random_subject', None, split, None)}
        for checkpoint in ('best_training', 'best_validation'):
            expected |= {('small', checkpoint, split, count) for count in (1, 3)}
        for name in ('averaged_single_frames', 'repeated_first_frame'):
            expected.add((name, 'best_validation', split, 3))
        expected.add(('oracle', 'best_validation', split, None))
    assert found == expected


def test_rows_hold_what_the_format_promises(evaluated):
    names = {'model', 'checkpoint', 'split', 'num_frames', 'num_subjects', 'nme_thesis'}
    names |= {'scan_to_mesh_mm', 'mesh_to_scan_mm', 'coverage', 'vertex_mm', 'p_value'}
    names |= {'of', 'seconds_per_sequence', 'intervals', 'protocol', 'selection', 'p_metric'}
    names |= {'voxel_iou', 'voxel_ap', 'ced_auc', 'coverage_90', 'sigma_mm', 'coordinate_rms_mm'}
    names |= {'frame_mm', 'unused_frames'}
    names |= {'order_spread', 'region_vertex_mm', 'region_scan_to_mesh_mm', 'fewest_frames'}
    for row in _rows(evaluated):
        assert set(row) == names
        assert set(row['scan_to_mesh_mm']) == {'mean', 'median', 'std', 'p90'}
        low, high = row['intervals']['vertex_mm']
        assert low <= row['vertex_mm'] <= high
        assert (row['p_value'] is None) == (row['model'] == 'mean_face')
        assert (row['seconds_per_sequence'] is None) == (row['num_frames'] is None)


def test_the_protocol_says_what_every_metric_measures(evaluated):
    protocol = json.loads((evaluated / 'eval' / 'results.json').read_text())['protocol']
    for metric in reported_metrics.METRICS + reported_metrics.REGIONS:
        assert protocol[metric.name] == metric.sentence


def test_every_subject_counts_once(evaluated):
    assert {row['split']: row['num_subjects'] for row in _rows(evaluated)} == {
        'train': 2,  # Two of five: no more were asked for.
        'test': 2,
    }
    with open(evaluated / 'eval' / 'per_subject.csv', newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['model'] == 'mean_face']
    assert sorted(row['subject'] for row in rows if row['split'] == 'test') == ['F005', 'M005']
    of_table = next(row for row in _rows(evaluated) if row['split'] == 'test')
    own = [float(row['vertex_mm']) for row in rows if row['split'] == 'test']
    np.testing.assert_allclose(np.mean(own), of_table['vertex_mm'])


def test_the_tables_and_pictures_are_there(evaluated):
    text = (evaluated / 'eval' / 'table.md').read_text()
    assert '| small, 3 frames, nme_thesis | best_training | best_validation |' in text
    assert 'mean_face' in text
    with open(evaluated / 'eval' / 'table.csv', newline='') as file:
        assert len(list(csv.DictReader(file))) == len(_rows(evaluated))
    pictures = os.listdir(evaluated / 'eval' / 'figures')
    expected = {'predictions_test.png', 'predictions_train.png', 'frames_vertex_mm.png'}
    assert expected | {'ced.png', 'calibration.png'} <= set(pictures)


def test_runs_are_scored_on_the_first_one_s_subjects_and_marked_if_selected_on_them(
    evaluated, tiny_records, no_figures, tmp_path
):
    both = {'validation_split': 'validation+test', 'test_split': 'validation+test'}
    make_run(tmp_path / 'old', tiny_records, target='points', **both)
    rows = evaluate.evaluate(
        [str(evaluated), str(tmp_path / 'old')],
        evaluate.EvaluationOptions(frames=(2,), splits=('test',), max_subjects=1),
    )
    assert {row['num_subjects'] for row in rows} == {1}
    marks = {
        (row['model'], row['checkpoint']): row['selection'] for row in rows if row['checkpoint']
    }
    assert marks['old', 'best_validation'] == 'selected on test'
    assert marks['old', 'best_training'] is None
    assert marks['small', 'best_validation'] is None
    unordered = next(row for row in rows if row['model'] == 'old')
    assert unordered['vertex_mm'] is None and unordered['p_metric'] == 'scan_to_mesh_mm'


@pytest.fixture(scope='module')
def test_only_records(tmp_path_factory):
    """Returns a data_dir with the records 'tiny' of two people of test, without maps of frames."""
    data_dir = tmp_path_factory.mktemp('test_only')
    conftest.write_records(data_dir, splits={'test': ('F006', 'M006')})
    shutil.rmtree(data_dir / 'tiny' / 'frame_maps')
    return data_dir


def test_records_of_test_alone_are_scored_beside_the_mean_face_of_the_run_s_own(
    tiny_records, test_only_records, no_figures, tmp_path
):
    make_run(tmp_path / 'run', tiny_records, frame_maps=True)
    options = evaluate.EvaluationOptions(
        frames=(1,),
        splits=('test',),
        checkpoints=('best_validation',),
        data_dir=str(test_only_records),
    )
    found = evaluate.evaluate([str(tmp_path / 'run')], options)
    assert {row['model'] for row in found} >= {'mean_face', 'random_subject', 'run'}
    (run,) = runs.load([str(tmp_path / 'run')], options, None).values()
    assert run.training_people().subject_ids == sorted(conftest.SPLITS['train'])


def test_records_of_test_alone_and_no_training_people_anywhere_are_said(
    tiny_records, test_only_records, tmp_path
):
    config, _, _ = make_run(tmp_path / 'run', tiny_records)
    config.data.dir = str(tmp_path / 'gone')
    checkpoints.write_config(str(tmp_path / 'run'), config)
    options = evaluate.EvaluationOptions(splits=('test',), data_dir=str(test_only_records))
    with pytest.raises(UserError, match='hold nobody to train on, so the baselines'):
        evaluate.evaluate([str(tmp_path / 'run')], options)


def test_wrong_wishes_are_refused(evaluated):
    with pytest.raises(UserError, match="no split 'tset'"):
        evaluate.evaluate([str(evaluated)], evaluate.EvaluationOptions(splits=('tset',)))
    with pytest.raises(UserError, match='at least 1'):
        evaluate.evaluate([str(evaluated)], evaluate.EvaluationOptions(frames=(0,)))
    with pytest.raises(UserError, match='at least 2 permutations'):
        evaluate.evaluate([str(evaluated)], evaluate.EvaluationOptions(permutations=1))
    with pytest.raises(UserError, match='has no checkpoint latest'):
        evaluate.evaluate([str(evaluated)], evaluate.EvaluationOptions(checkpoints=('latest',)))
    with pytest.raises(UserError, match='not the workdir of a run'):
        evaluate.evaluate([str(evaluated / 'nothing')])


def test_answers_that_are_not_finite_are_named(tiny_records, tmp_path):
    _, _, variables = make_run(tmp_path / 'broken', tiny_records)
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), variables)
    checkpoints.save(str(tmp_path / 'broken'), 'best_validation', broken, {'step': 1})
    options = evaluate.EvaluationOptions(
        frames=(1,), splits=('test',), checkpoints=('best_validation',)
    )
    with pytest.raises(UserError, match='best_validation of broken answers with numbers'):
        evaluate.evaluate([str(tmp_path / 'broken')], options)


@pytest.mark.slow
def test_the_command_prints_the_table_and_names_what_is_wrong(evaluated):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = [sys.executable, 'run_eval.py', f'--workdir={evaluated}', '--frames=1']
    command += ['--splits=test', '--checkpoints=best_training', '--subjects=1']
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '| small, 1 frames, nme_thesis |' in done.stdout
    done = forked_commands.run('run_eval.py', f'--workdir={evaluated}', '--frames=many')
    assert done.returncode == 1
    assert done.stderr.startswith('error: --frames takes whole numbers')
