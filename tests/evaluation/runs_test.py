import shutil

import pytest

from seqface_jax import evaluate
from seqface_jax.evaluation import runs
from tests.helpers import small_run


@pytest.mark.parametrize('expression_size', [0, 2])
def test_maps_of_frames_are_read_where_a_run_says_expressions(
    tiny_records, tmp_path, expression_size
):
    workdir = small_run.write(tmp_path / 'run', expression_size=expression_size)
    options = evaluate.EvaluationOptions(
        checkpoints=('best_validation',), data_dir=str(tiny_records), data_name='tiny'
    )
    (run,) = runs.load([workdir], options, None).values()
    assert run.dataset.split('test').has_frame_maps == bool(expression_size)
    shutil.copytree(tiny_records, tmp_path / 'without')
    shutil.rmtree(tmp_path / 'without' / 'tiny' / 'frame_maps')
    options = evaluate.dataclasses.replace(options, data_dir=str(tmp_path / 'without'))
    (run,) = runs.load([workdir], options, None).values()
    assert not run.dataset.split('test').has_frame_maps


def test_two_runs_whose_folders_are_called_alike_have_two_names():
    assert runs.names_of(['a/run/', None]) == ['run', 'packaged run']
    assert runs.names_of(['a/run/', 'b/run', None]) == ['a/run', 'b/run', 'packaged run']
