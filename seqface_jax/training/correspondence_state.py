"""The state of a training of the correspondence network, and its checkpoints."""

import math

import jax
import jax.numpy as jnp
from flax import serialization

from seqface_jax import checkpoints
from seqface_jax.training.start import read_start

BEST = ('best_validation', 'best_training')


def start(config, model, tx, supply, store):
    """Returns the state that a run goes on from, or begins with.

    Args:
        config: of the run.
        model: CorrespondenceNetwork.
        tx: optax transformation.
        supply: picture_supply.Supply, for the network's constants.
        store: checkpoints.Store.

    Returns:
        dict of params, ema (their average), opt_state, constants and step [].

    Raises:
        UserError: train.start_from cannot be read.
    """
    variables = checkpoints.draw_variables(model, config.data.image_size, config.train.seed)
    params = variables['params']
    state = {'params': params, 'ema': jax.tree.map(jnp.copy, params), 'opt_state': tx.init(params)}
    restored = store.restore('latest', variables, _training_tree(state))
    if restored is None:
        earlier = read_start(config, checkpoints.load)
        if earlier:  # Two copies: a buffer that stood in both could not be donated to the step.
            own = (jax.tree.map(jnp.array, earlier['params']) for _ in range(2))
            state['params'], state['ema'] = own
        constants = earlier['constants'] if earlier else supply.constants(config)
        state['constants'] = jax.tree.map(jnp.asarray, constants)
        return state | {'step': jnp.zeros((), jnp.int32)}
    variables, training, meta = restored
    opt_state = serialization.from_state_dict(state['opt_state'], training['opt_state'])
    return {
        'params': training['params'],
        'ema': training['ema'],
        'opt_state': opt_state,
        'constants': variables['constants'],
        'step': jnp.asarray(meta['step'], jnp.int32),
    }


def variables_of(state):
    """Returns the variables that are evaluated: averaged parameters, and constants."""
    return {'params': state['ema'], 'constants': state['constants']}


class BestLosses:
    """The lowest losses of a run so far, and the checkpoints that had them."""

    def __init__(self, store):
        """Reads them from the checkpoints of a checkpoints.Store."""
        self._store = store
        self._lowest = {which: _read_loss(store, which) for which in BEST}

    def save(self, state, step, losses):
        """Saves `latest`, and each checkpoint of BEST whose loss in `losses` is the lowest yet."""
        variables = variables_of(state)
        meta = {'step': step} | {f'{which}_loss': loss for which, loss in losses.items()}
        for which, loss in losses.items():
            if loss < self._lowest[which]:
                self._lowest[which] = loss
                self._store.save(which, variables, meta)
        self._store.save('latest', variables, meta, training=_training_tree(state))


def _read_loss(store, which):
    """Returns the loss of a run's best checkpoint so far; infinity if there is none."""
    restored = store.restore(which)
    return math.inf if restored is None else restored[2].get(f'{which}_loss', math.inf)


def _training_tree(state):
    tree = {name: state[name] for name in ('params', 'ema')}
    return tree | {'opt_state': serialization.to_state_dict(state['opt_state'])}
