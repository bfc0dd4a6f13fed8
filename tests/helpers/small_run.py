"""A run of untrained weights around made-up faces, without records: quicker than a real one."""

import functools

import jax
import numpy as np

from configs import tiny
from seqface_jax import checkpoints, models
from seqface_jax.geometry import map_grid

IMAGE_SIZE = 32


@functools.cache
def make(seed=0, target='position_map', expression_size=0):
    """Returns config, model and variables whose every layer has random weights."""
    config = tiny.get_config()
    config.data.update(image_size=IMAGE_SIZE, target=target)
    config.model.encoder = {'kind': 'oriented_gradients', 'features': 4, 'stride': 8}
    config.model.memory_features = 2
    if expression_size:
        config.model.expression_size = expression_size
    model = models.create(config.model, IMAGE_SIZE)
    shapes = jax.eval_shape(lambda: checkpoints.init_variables(model, IMAGE_SIZE, 0))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), shapes['params']
    )
    constants = models.constants(config.model, _people(rng), functools.partial(_frames, rng))
    constants = {name: np.float32(value) for name, value in constants.items()}
    return config, model, {'params': params, 'constants': constants}


def write(workdir, seed=0, **changes):
    """Writes such a run, see `make`; returns its workdir as str."""
    config, _, variables = make(seed, **changes)
    checkpoints.write_config(str(workdir), config)
    checkpoints.save(str(workdir), 'best_validation', variables, {})
    return str(workdir)


def _frames(rng, count):
    return rng.random((min(count, 6), IMAGE_SIZE, IMAGE_SIZE, 3), np.float32)


def _people(rng, count=6):
    """Returns the table of `count` lumpy spheres of 90 mm."""
    directions = map_grid.ray_directions().astype(np.float32)
    modes = np.stack([directions[..., 0] ** 2, directions[..., 1] ** 2])
    weights = rng.normal(size=(count, 2)) * [4, 2]
    radius = 90 + np.einsum('nk,khw->nhw', weights, modes)
    maps = (radius[..., None] * directions).astype(np.float32)
    return {
        'position_map': maps,
        'mask': np.ones(maps.shape[:3], bool),
        'points': maps.reshape(count, -1, 3),
        'deformation': modes,
        'deformation_mask': np.ones((2, *maps.shape[1:3]), bool),
    }
