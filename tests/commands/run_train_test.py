import os
import subprocess
import sys

import pytest

from configs import bu4dfe_thesis
from seqface_jax import checkpoints, train
from tests.helpers import forked_commands

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.mark.slow
def test_the_tiny_config_trains_into_its_default_workdir(tiny_records, tmp_path):
    command = [
        sys.executable,
        f'{ROOT}/run_train.py',
        f'--config={ROOT}/configs/tiny.py',
        f'--config.data.dir={tiny_records}',
        '--config.data.name=tiny',
        '--config.train.num_epochs=1',
        '--config.data.augmentation.enabled=False',  # Compiles in half the time.
    ]
    environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': ROOT}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert 'orbax' not in done.stderr
    assert done.stdout.startswith('runs/tiny: 10 steps in 1 epochs')
    names = set(os.listdir(tmp_path / 'runs' / 'tiny'))
    assert {'config.json', 'metrics.csv', 'checkpoints'} <= names
    assert any(name.startswith('events.out') for name in names)


def test_the_recipe_of_the_thesis_trains_a_narrow_network(tiny_records, tmp_path):
    config = bu4dfe_thesis.get_config()
    config.data.dir, config.data.name = str(tiny_records), 'tiny'
    config.data.image_size, config.data.num_frames, config.data.batch_size = 64, 2, 2
    config.model.encoder = (
        {'kind': 'conv_lstm', 'features': 4, 'stride': 4},
        {'kind': 'inverted_residual', 'features': 4, 'expansion': 1, 'stride': 4},
    )
    config.model.decoder = (
        {'kind': 'conv_transpose', 'features': 4, 'stride': 2},
        {'kind': 'conv_transpose', 'features': 3, 'stride': 2},
    )
    config.train.num_epochs = 3
    train.train_and_evaluate(config, str(tmp_path / 'run'))
    meta = checkpoints.read_meta(str(tmp_path / 'run'), 'best_training')
    assert meta['epoch'] == 3  # The loss fell in every epoch.


@pytest.mark.slow
@pytest.mark.parametrize(
    'argument, sentence',
    [
        ('--config.train.sed=1', 'Did you mean "seed" instead of "sed"?'),
        ('--config.train.seed=abc', 'config.train.seed'),
        ('--config.model.hiden_features=3', 'hiden_features'),
        ('--config.data.dir=/nowhere', 'prepare them with `python -m data_prep'),
        ('stray', 'unexpected arguments'),
    ],
)
def test_a_mistake_on_the_command_line_ends_with_one_sentence(argument, sentence, tmp_path):
    command = ['run_train.py', '--config=configs/tiny.py', argument, f'--workdir={tmp_path}/run']
    done = forked_commands.run(*command)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.slow
def test_a_config_file_that_is_not_there_is_named():
    done = forked_commands.run('run_train.py', '--config=configs/nope.py')
    assert done.returncode == 1
    assert 'configs/nope.py' in done.stderr
    assert 'Traceback' not in done.stderr
