import csv
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import tiny
from seqface_jax import checkpoints, evaluate, input_pipeline, models, reconstruct
from seqface_jax.errors import UserError
from tests import bumpy_face


def make_run(workdir, data_dir, *, seed=0, num_frames=(1, 3), **data):
    """Writes a run of untrained weights, around the training split's mean face."""
    config = tiny.get_config()
    config.data.update(dir=str(data_dir), name='tiny', image_size=32, cache_mib=8, **data)
    config.eval.num_frames = num_frames
    split = input_pipeline.open_dataset(config.data).split('train')
    model = models.create(config.model, 32)
    variables = jax.jit(lambda: checkpoints.init_variables(model, 32, seed))()
    constants = models.constants(config.model, split.subjects)
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
    evaluate.evaluate([str(workdir)])
    return workdir


def _rows(workdir):
    with open(os.path.join(workdir, 'eval', 'results.json')) as file:
        return json.load(file)['rows']


def test_a_draw_is_distinct_spread_over_sequences_and_the_start_of_a_larger_draw():
    sequences = np.repeat(['Angry', 'Fear', 'Happy'], [20, 5, 30])
    drawn = evaluate.draw_frames(sequences, 12, seed=3)
    assert len(set(drawn)) == 12
    _, counts = np.unique(sequences[drawn], return_counts=True)
    np.testing.assert_array_equal(counts, 4)
    np.testing.assert_array_equal(evaluate.draw_frames(sequences, 5, seed=3), drawn[:5])
    assert list(evaluate.draw_frames(sequences, 12, seed=4)) != list(drawn)


def test_a_subject_with_few_frames_shows_them_all():
    drawn = evaluate.draw_frames(np.array(['Angry', 'Happy', 'Happy']), 8, seed=0)
    np.testing.assert_array_equal(np.sort(drawn), [0, 1, 2])


def _counting_step(variables, state, frames):
    """A model whose answer is the sum of the frames' first bytes so far."""
    del variables
    total = frames[:, 0, 0, 0].astype(np.float32) + (0 if state is None else state)
    answer = np.broadcast_to(total[:, None, None, None], (len(frames), 4, 4, 3))
    return total, models.Prediction(answer, None)


def _frames(values):
    return np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


def test_streaming_answers_after_each_number_of_frames_and_after_the_last_if_there_are_fewer():
    frames = [_frames([1, 2, 4]), _frames([8])] + [_frames([0])] * 7  # More than one batch.
    maps, seconds = evaluate.predict(_counting_step, None, frames, (1, 2, 5))
    np.testing.assert_array_equal(maps[:, 0, 0, 0, 0], [1, 3, 7])
    np.testing.assert_array_equal(maps[:, 1, 0, 0, 0], [8, 8, 8])
    assert maps.shape == (3, 9, 4, 4, 3)
    assert (np.diff(seconds) >= 0).all()


def test_single_frames_are_averaged():
    frames = [_frames([1, 2, 6]), _frames([8, 4])]
    maps, _ = evaluate.predict(_counting_step, None, frames, (2, 3), single=True)
    np.testing.assert_allclose(maps[:, 0, 0, 0, 0], [1.5, 3])
    np.testing.assert_allclose(maps[:, 1, 0, 0, 0], [6, 6])


def test_streaming_equals_the_answer_to_the_whole_sequence(tiny_records, tmp_path):
    config, model, variables = make_run(tmp_path / 'run', tiny_records)
    frames = np.random.default_rng(0).integers(256, size=(2, 4, 32, 32, 3), dtype=np.uint8)
    step = reconstruct.make_step(config, model)
    maps, _ = evaluate.predict(step, variables, list(frames), (1, 4))
    inputs = input_pipeline.normalize_frames(frames, 'unit')
    whole = jax.jit(lambda x: model.apply(variables, x, train=False))(inputs)
    np.testing.assert_allclose(maps[0], whole.position_map[:, 0], atol=1e-3)
    np.testing.assert_allclose(maps[1], whole.position_map[:, 3], atol=1e-3)


def test_a_perfect_answer_scores_the_noise_of_the_scan():
    face = bumpy_face.position_map_of(0)
    mask = bumpy_face.mask_of(face)
    subjects = evaluate.Subjects(
        ['F001'],
        [bumpy_face.scan_of(face)],
        bumpy_face.sample(face, 16384)[None],
        face[None],
        mask[None],
        [np.arange(1)],
    )
    found = evaluate.score(subjects, 0, face, ordered=True, mask=mask)
    assert found['scan_to_mesh_mm'].mean < 0.2 and found['vertex_mm'] < 1e-4
    unordered = np.random.default_rng(0).permutation(face.reshape(-1, 3)).reshape(face.shape)
    found = evaluate.score(subjects, 0, unordered, ordered=False, mask=mask)
    assert found['scan_to_mesh_mm'].mean < 0.2 and found['vertex_mm'] is None


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
        expected.add(('averaged_single_frames', 'best_validation', split, 3))
    assert found == expected


def test_rows_hold_what_the_format_promises(evaluated):
    names = {'model', 'checkpoint', 'split', 'num_frames', 'num_subjects', 'nme_thesis'}
    names |= {'scan_to_mesh_mm', 'mesh_to_scan_mm', 'coverage', 'vertex_mm', 'p_value'}
    names |= {'of', 'seconds_per_sequence', 'intervals', 'protocol', 'selection', 'p_metric'}
    for row in _rows(evaluated):
        assert set(row) == names
        assert set(row['scan_to_mesh_mm']) == {'mean', 'median', 'std', 'p90'}
        low, high = row['intervals']['vertex_mm']
        assert low <= row['vertex_mm'] <= high
        assert (row['p_value'] is None) == (row['model'] == 'mean_face')
        assert (row['seconds_per_sequence'] is None) == (row['checkpoint'] is None)


def test_every_subject_counts_once(evaluated):
    assert {row['split']: row['num_subjects'] for row in _rows(evaluated)} == {
        'train': 5,
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
    assert {'predictions_test.png', 'predictions_train.png', 'frames_vertex_mm.png'} <= set(
        pictures
    )


def test_runs_are_scored_on_the_first_one_s_subjects_and_marked_if_selected_on_them(
    evaluated, tiny_records, tmp_path
):
    both = {'validation_split': 'validation+test', 'test_split': 'validation+test'}
    make_run(tmp_path / 'old', tiny_records, seed=1, target='points', **both)
    rows = evaluate.evaluate(
        [str(evaluated), str(tmp_path / 'old')],
        evaluate.Options(frames=(2,), splits=('test',), max_subjects=2),
    )
    assert {row['num_subjects'] for row in rows} == {2}
    marks = {
        (row['model'], row['checkpoint']): row['selection'] for row in rows if row['checkpoint']
    }
    assert marks['old', 'best_validation'] == 'selected on test'
    assert marks['old', 'best_training'] is None
    assert marks['small', 'best_validation'] is None
    unordered = next(row for row in rows if row['model'] == 'old')
    assert unordered['vertex_mm'] is None and unordered['p_metric'] == 'scan_to_mesh_mm'


def test_wrong_wishes_are_refused(evaluated):
    with pytest.raises(UserError, match="no split 'tset'"):
        evaluate.evaluate([str(evaluated)], evaluate.Options(splits=('tset',)))
    with pytest.raises(UserError, match='at least 1'):
        evaluate.evaluate([str(evaluated)], evaluate.Options(frames=(0,)))
    with pytest.raises(UserError, match='has no checkpoint latest'):
        evaluate.evaluate([str(evaluated)], evaluate.Options(checkpoints=('latest',)))
    with pytest.raises(UserError, match='not the workdir of a run'):
        evaluate.evaluate([str(evaluated / 'nothing')])


def test_answers_that_are_not_finite_are_named(tiny_records, tmp_path):
    _, _, variables = make_run(tmp_path / 'broken', tiny_records)
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), variables)
    checkpoints.save(str(tmp_path / 'broken'), 'best_validation', broken, {'step': 1})
    options = evaluate.Options(frames=(1,), splits=('test',), checkpoints=('best_validation',))
    with pytest.raises(UserError, match='best_validation of broken answers with numbers'):
        evaluate.evaluate([str(tmp_path / 'broken')], options)


def test_the_command_prints_the_table_and_names_what_is_wrong(evaluated):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [sys.executable, 'run_eval.py', f'--workdir={evaluated}', '--frames=1']
    command += ['--splits=test', '--checkpoints=best_training', '--subjects=1']
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '| small, 1 frames, nme_thesis |' in done.stdout
    command[3] = '--frames=many'
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith('error: --frames takes whole numbers')
