"""Every option of default.py and cpu.py is read by some part of the package."""

import jax
import numpy as np
import pytest

from configs import cpu, default
from seqface_jax import checkpoints, evaluate, train
from seqface_jax.data import augmentation, input_pipeline
from seqface_jax.evaluation import split_evaluation
from seqface_jax.reconstruction.point_reconstructor import PointReconstructor
from seqface_jax.training import correspondence_training, cpu_devices
from tests.helpers import config_reads, grey_faces, small_pictures, toy_model


class _EnoughSeen(Exception):
    pass


def _stop(self):
    raise _EnoughSeen


@pytest.fixture
def config(tiny_records, monkeypatch):
    toy_model.install(monkeypatch.setattr)
    config = toy_model.get_config(tiny_records)
    config.train.num_epochs = 1
    config.eval.splits = ('test',)
    return config


def test_every_option_is_read(config, tmp_path, monkeypatch):
    found = config_reads.record(config, monkeypatch.setattr)
    train.train_and_evaluate(config, str(tmp_path))

    batch = input_pipeline.open_dataset(config.data).split('train').batch(0, 0, 0)
    jax.eval_shape(
        lambda key: augmentation.augment(key, batch, config.data.augmentation), jax.random.key(0)
    )

    monkeypatch.setattr(split_evaluation.SplitEvaluation, 'run', _stop)
    with pytest.raises(_EnoughSeen):
        evaluate.evaluate([str(tmp_path)])

    config.data.update(draw='pairs', num_frames=2, front_max_yaw_deg=15.0, side_min_yaw_deg=15.0)
    assert input_pipeline.open_dataset(config.data).split('train').num_batches()

    monkeypatch.delenv('XLA_FLAGS', raising=False)
    monkeypatch.setattr(jax.config, 'update', lambda name, value: None)
    cpu_devices.set_up(config)
    assert set(config_reads.leaves(default.get_config())) - found == set()


def _traced_only(jit_steps):
    """Returns `jit_steps` whose steps are traced, which reads every option, and say zeros."""

    def only_traced(step):
        def say_zeros(*arguments):
            answers = jax.eval_shape(step, *arguments)
            return jax.tree.map(lambda answer: np.zeros(answer.shape, answer.dtype), answers)

        return say_zeros

    return lambda *arguments: tuple(map(only_traced, jit_steps(*arguments)))


def test_every_option_of_the_flagship_is_read(tiny_records, tmp_path, monkeypatch):
    small_pictures.write(tmp_path)
    config = small_pictures.config(tmp_path)
    config.train.num_steps = 4
    config.eval.update(data_dir=str(tiny_records), data_name='tiny')
    monkeypatch.setattr(
        correspondence_training, 'jit_steps', _traced_only(correspondence_training.jit_steps)
    )
    found = config_reads.record(config, monkeypatch.setattr)
    correspondence_training.train(config, str(tmp_path / 'run'), stop_after=1)
    checkpoints.load(str(tmp_path / 'run'), 'latest')

    restored = grey_faces.GreyReconstructor()
    monkeypatch.setattr(PointReconstructor, 'restore', lambda *given, lens_of: restored)
    monkeypatch.setattr(split_evaluation.SplitEvaluation, 'run', _stop)
    with pytest.raises(_EnoughSeen):
        evaluate.evaluate([str(tmp_path / 'run')])

    left = set(config_reads.leaves(cpu.get_config())) - found
    # The network refuses fields of its section that it does not have.
    assert {name for name in left if not name.startswith('model.')} == set()


def test_an_option_that_nobody_reads_is_seen(config, monkeypatch):
    config.optimizer.momentum = 0.9
    found = config_reads.record(config, monkeypatch.setattr)
    input_pipeline.open_dataset(config.data).split('train')
    assert {'data.dir', 'data.name', 'data.on_bad_record'} <= found
    config.to_json()
    assert config.copy_and_resolve_references() == config
    assert 'optimizer.momentum' not in found
