import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run_train(*arguments, folder=ROOT):
    """Runs the script; returns its exit status, stdout and stderr."""
    command = [sys.executable, os.path.join(ROOT, 'run_train.py'), *map(str, arguments)]
    environment = os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': ROOT}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    return done.returncode, done.stdout, done.stderr


def test_the_tiny_config_trains_into_its_default_workdir(tiny_records, tmp_path):
    status, out, err = run_train(
        f'--config={ROOT}/configs/tiny.py',
        f'--config.data.dir={tiny_records}',
        '--config.data.name=tiny',
        '--config.train.num_epochs=1',
        '--config.data.augmentation.enabled=False',  # Compiles in half the time.
        folder=tmp_path,
    )
    assert status == 0, err
    assert 'orbax' not in err
    assert out.startswith('runs/tiny: 10 steps in 1 epochs')
    names = set(os.listdir(tmp_path / 'runs' / 'tiny'))
    assert {'config.json', 'metrics.csv', 'checkpoints'} <= names
    assert any(name.startswith('events.out') for name in names)


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
    status, _, err = run_train(
        f'--config={ROOT}/configs/tiny.py', argument, f'--workdir={tmp_path}/run'
    )
    assert status == 1
    assert sentence in err
    assert 'Traceback' not in err


def test_a_config_file_that_is_not_there_is_named():
    status, _, err = run_train('--config=configs/nope.py')
    assert status == 1
    assert 'configs/nope.py' in err
    assert 'Traceback' not in err
