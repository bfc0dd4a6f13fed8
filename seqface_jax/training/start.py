"""The state that a run begins with: drawn, or the parameters of an earlier run."""

import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax import checkpoints, models
from seqface_jax.errors import UserError
from seqface_jax.models.normalization import normalize_frames
from seqface_jax.training import objective
from seqface_jax.training.state import create_state

SAMPLED_MAPS = 1024  # Frames of the training split, for the directions of their expressions.


def start_state(config, model, training):
    """Returns the TrainState before the first step.

    Args:
        config: of the run.
        model: its network.
        training: input_pipeline.Split, from which the network's constants are computed.

    Raises:
        UserError: the network lacks what a loss needs, or train.start_from cannot be read.
    """
    earlier = read_start(config, checkpoints.load_recurrent)
    constants = earlier['constants'] if earlier else network_constants(config, training)
    objective.check(config, constants)
    state = create_state(config, model, constants, training.num_batches())
    return _with_variables(state, earlier) if earlier else state


def network_constants(config, training):
    """Computes what the network knows of the training split beforehand.

    Args:
        config: of the run.
        training: input_pipeline.Split.

    Returns:
        dict of float32 arrays, the collection 'constants'.
    """
    table = training.subjects
    if config.train.loss_weights.frame_l1:
        table = table | training.sample_deformations(SAMPLED_MAPS)

    def sample_frames(count):
        frames = training.sample_frames(count)
        return np.asarray(normalize_frames(frames, config.data.normalization))

    constants = models.constants(config.model, table, sample_frames)
    return jax.tree.map(np.float32, constants)


def read_start(config, load):
    """Returns the variables of the run that training starts from; {}: it starts from none.

    Args:
        config: of the run that starts.
        load: checkpoints.load or one that is choosier.

    Raises:
        UserError: there is no such run, or it has another network than the config.
    """
    workdir = config.train.start_from
    if not workdir:
        return {}
    its_config, _, variables = load(workdir, 'best_validation')
    differing = [
        name.removeprefix('model.')
        for name in checkpoints.differing_fields(its_config, config)
        if name.startswith('model.') or name == 'data.image_size'
    ]
    if differing:
        raise UserError(
            f'train.start_from: the network of {workdir} differs from that of the config in '
            f'{", ".join(differing)}: set them as {workdir}/config.json has them'
        )
    return variables


def _with_variables(state, variables):
    """Returns a state with the parameters and statistics of another run."""
    params = jax.tree.map(jnp.asarray, variables['params'])
    return state.replace(
        params=params,
        batch_stats=variables.get('batch_stats', {}),
        ema_params=None if state.ema_params is None else jax.tree.map(jnp.copy, params),
    )
