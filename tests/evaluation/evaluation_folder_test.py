import os

import pytest

from seqface_jax import checkpoints, evaluate
from seqface_jax.errors import UserError


def test_a_run_of_ones_own_has_its_evaluation_inside(tmp_path):
    assert evaluate.output_folder(str(tmp_path)) == os.path.join(tmp_path, 'eval')


def test_the_packaged_run_is_evaluated_in_a_folder_of_its_own():
    assert evaluate.output_folder(checkpoints.PRETRAINED) == os.path.join(
        'runs', 'pretrained', 'eval'
    )


def test_a_named_folder_is_taken_for_any_run(tmp_path):
    assert evaluate.output_folder(checkpoints.PRETRAINED, str(tmp_path)) == str(tmp_path)


def test_a_folder_that_cannot_be_made_is_named_before_the_work(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write to .*choose another --output'):
        evaluate.evaluate(
            [str(tmp_path)], evaluate.EvaluationOptions(output=str(tmp_path / 'file' / 'x'))
        )
