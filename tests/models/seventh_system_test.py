import json
import os

import pytest

from configs import tiny
from seqface_jax import evaluate, models, train
from seqface_jax.models.fields import ModelConfigError


def _config(data_dir):
    config = tiny.get_config()
    config.data.update(dir=str(data_dir), name='tiny', image_size=32, cache_mib=8)
    config.model = {'name': 'tests.helpers.seventh_system:ShiftedMeanFace', 'gain_mm': 2.0}
    config.train.num_epochs = 1
    config.train.loss_weights.gaussian_nll = 0.0  # These networks do not say how sure they are.
    return config


def test_a_seventh_system_is_a_model_file_and_a_config(tiny_records, no_figures, tmp_path):
    workdir = str(tmp_path / 'seventh')
    train.train_and_evaluate(_config(tiny_records), workdir)
    evaluate.evaluate([workdir], evaluate.EvaluationOptions(frames=(1, 2), splits=('test',)))
    with open(os.path.join(workdir, 'eval', 'results.json')) as file:
        rows = json.load(file)['rows']
    own = [row for row in rows if row['model'] == 'seventh']
    # It reads one frame: the answer to two is the average of two answers.
    assert {row['num_frames'] for row in own} == {1}
    assert all(row['vertex_mm'] > 0 and row['coverage'] > 0.5 for row in own)
    averaged = [row for row in rows if row['model'] == 'averaged_single_frames']
    assert [(row['of'], row['num_frames']) for row in averaged] == [('seventh', 2)]


def test_a_system_of_pairs_in_image_space_is_trained_and_scored_alike(
    tiny_records, no_figures, tmp_path
):
    config = _config(tiny_records)
    config.data.update(frame_maps=True, draw='pairs', num_frames=2)
    config.data.update(front_max_yaw_deg=15.0, side_min_yaw_deg=15.0)
    config.model = {'name': 'tests.helpers.seventh_system:ShiftedPair'}
    config.train.loss_weights.update(masked_l1=0.0, gaussian_nll=0.0, image_mse=1.0)
    workdir = str(tmp_path / 'pairs')
    progress = train.train_and_evaluate(config, workdir)
    assert progress.step == 8  # 5 people, 3 frontal frames each, 2 pairs a step.
    evaluate.evaluate([workdir], evaluate.EvaluationOptions(frames=(1, 8), splits=('test',)))
    with open(os.path.join(workdir, 'eval', 'results.json')) as file:
        rows = json.load(file)['rows']
    counts = {row['num_frames'] for row in rows if row['model'] == 'pairs'}
    assert counts == {1, 2}  # The second frame is the one from the side; there is no eighth.
    (oracle,) = [row for row in rows if row['model'] == 'oracle']
    trained = [row for row in rows if row['model'] == 'pairs']
    assert oracle['of'] == 'pairs'
    assert all(oracle['vertex_mm'] < row['vertex_mm'] for row in trained)


def test_a_system_that_cannot_be_imported_or_is_misspelt_is_named():
    with pytest.raises(ModelConfigError, match="write 'module:Class'"):
        models.create({'name': 'tests.helpers.seventh_system:Nothing'}, 32)
    with pytest.raises(ModelConfigError, match='no field gain'):
        models.create({'name': 'tests.helpers.seventh_system:ShiftedMeanFace', 'gain': 1.0}, 32)
