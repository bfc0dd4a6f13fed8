import functools

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from configs import bu4dfe_thesis, quickstart
from seqface_jax import input_pipeline, models, train
from seqface_jax.errors import UserError

NARROW = {
    'encoder': (
        {'kind': 'conv_lstm', 'features': 8, 'stride': 2},
        {'kind': 'inverted_residual', 'features': 8, 'expansion': 2},
        {'kind': 'conv_lstm', 'features': 16, 'stride': 2},
    ),
    'decoder': (
        {'kind': 'conv_transpose', 'features': 8, 'stride': 2},
        {'kind': 'conv_transpose', 'features': 3},
    ),
}


def narrow_config(data_dir, compute_dtype):
    """The thesis's network with few channels at 32 pixels."""
    config = bu4dfe_thesis.get_config()
    config.data.update(dir=str(data_dir), name='tiny', image_size=32, num_frames=2, batch_size=4)
    config.data.num_threads = 2
    for name, layers in NARROW.items():
        config.model[name] = layers
    config.train.compute_dtype = compute_dtype
    return config


def take_step(config):
    """Returns the loss, and the state before and after one step."""
    split = input_pipeline.open_dataset(config.data).split('train')
    devices = train.Devices(config.data.batch_size)
    model = models.create(config.model, config.data.image_size, axis_name=train.AXIS)
    constants = models.constants(config.model, split.subjects, split.sample_frames)
    before = train.create_state(config, model, constants, split.num_batches())
    step = devices.map(functools.partial(train.train_step, config), num_outputs=2, donate=False)
    batch = devices.deal(split.batch(0, 0, 0), config)
    after, metrics = step(devices.replicate(before), batch)
    return float(metrics['loss']), before, after


def test_a_bfloat16_step_is_near_a_float32_step_and_keeps_float32_parameters(tiny_records):
    losses, moved = {}, {}
    for dtype in ('float32', 'bfloat16'):
        losses[dtype], before, after = take_step(narrow_config(tiny_records, dtype))
        kept = (after.params, after.batch_stats)
        assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {np.dtype('float32')}
        moved[dtype] = ravel_pytree(after.params)[0] - ravel_pytree(before.params)[0]
    assert losses['float32'] != losses['bfloat16']
    np.testing.assert_allclose(losses['bfloat16'], losses['float32'], rtol=0.02)
    alike = np.sign(moved['float32']) == np.sign(moved['bfloat16'])
    assert alike.mean() > 0.9  # Adam's first step is the sign of each gradient.


def test_bfloat16_is_refused_where_it_would_lose_millimetres(tiny_records, tmp_path):
    config = quickstart.get_config()
    config.data.dir = str(tiny_records)
    config.train.compute_dtype = 'bfloat16'
    with pytest.raises(UserError, match=r"train\.compute_dtype='bfloat16' is not for Fusion"):
        train.train_and_evaluate(config, str(tmp_path))
