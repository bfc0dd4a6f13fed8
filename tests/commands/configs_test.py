import functools
import glob
import importlib
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from seqface_jax import checkpoints, models
from seqface_jax.training import objective, optimizers
from tests import conftest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMES = sorted(
    os.path.splitext(os.path.basename(path))[0] for path in glob.glob(f'{ROOT}/configs/*.py')
)
NAMES.remove('default')
FLAGSHIPS = ['bu4dfe', 'cpu']  # They learn from pictures, not records: options of their own.
RECORD_NAMES = [name for name in NAMES if name not in FLAGSHIPS]


def get_config(name):
    return importlib.import_module(f'configs.{name}').get_config()


def field_names(config):
    """Returns the dotted names of all options but those of the network."""
    return {
        f'{section}.{name}'
        for section, group in config.items()
        for name in group
        if section != 'model'
    }


@pytest.mark.parametrize('name', RECORD_NAMES)
def test_a_config_builds_a_network_whose_faces_fit_its_loss(name):
    config = get_config(name)
    model = models.create(config.model, config.data.image_size)
    record, _ = conftest.make_person('F001')
    table = {key: record[key][None] for key in ('position_map', 'mask', 'points')}
    mask = table['mask']
    table |= {'deformation': np.zeros(mask.shape, np.float32), 'deformation_mask': mask}
    size = config.data.image_size
    blank = np.zeros((1, size, size, 3), np.float32)
    constants = models.constants(config.model, table, lambda count: blank)
    key, frames = jax.random.key(0), jnp.zeros((2, 3, size, size, 3))
    prediction, variables = jax.eval_shape(
        lambda: model.init_with_output({'params': key, 'dropout': key}, frames, train=False)
    )
    assert jax.tree.map(np.shape, constants) == jax.tree.map(np.shape, variables['constants'])
    side = prediction.position_map.shape[-2]
    assert prediction.position_map.shape == (2, 3, side, side, 3)
    objective.check(config, constants)
    config.train.loss_weights.rotated_views = 0.0  # Views are drawn in training only.
    batch = {name: jnp.repeat(value, 2, axis=0) for name, value in table.items()}
    batch |= {name: jnp.ones((2, 3, 128, 128, 3)) for name in ('image_map', 'frame_map')}
    batch |= {name: jnp.ones((2, 3, 128, 128), bool) for name in ('image_mask', 'frame_mask')}
    batch = {name: batch[name] for name in objective.batch_fields(config)}
    given = functools.partial(objective.sequence_losses, config)
    loss, terms, _ = jax.eval_shape(given, prediction, batch, constants)
    assert loss.shape == (2,) and set(terms) == set(objective.term_names(config))


@pytest.mark.parametrize('name', RECORD_NAMES)
def test_a_config_builds_an_optimiser(name):
    config = get_config(name)
    tx = optimizers.create(config.optimizer, 10)
    tx.init({'kernel': jnp.zeros(3)})


@pytest.mark.parametrize('name', RECORD_NAMES)
def test_a_config_adds_no_option_that_the_default_lacks(name):
    assert field_names(get_config(name)) == field_names(default.get_config())


def test_the_flagships_are_one_network_with_the_options_of_every_evaluation():
    large, small = map(get_config, FLAGSHIPS)
    assert large.model == small.model and large.model.name == checkpoints.FLAGSHIP
    assert field_names(large) == field_names(small)
    assert set(default.get_config().eval) < set(small.eval)


@pytest.mark.parametrize('name', NAMES)
def test_a_config_survives_the_way_through_its_json(name, tmp_path):
    config = get_config(name)
    checkpoints.write_config(str(tmp_path), config)
    assert checkpoints.read_config(str(tmp_path)) == config
