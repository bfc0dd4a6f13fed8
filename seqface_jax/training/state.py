"""All that a run needs to go on: parameters, optimiser, and how far it is."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization
from flax.training import train_state

from seqface_jax import checkpoints
from seqface_jax.training import distributed, optimizers


class TrainState(train_state.TrainState):
    """Flax's, and what else the network is made of.

    Attributes:
        batch_stats: running statistics; empty for a network without batch normalisation.
        constants: what the network knows of the training data, not trained.
        ema_params: exponential average of params, or None where it is off.
    """

    batch_stats: Any
    constants: Any
    ema_params: Any

    def variables(self, *, averaged):
        """Returns the collections for `apply_fn`; with the averaged params, if kept and wanted."""
        params = self.ema_params if averaged and self.ema_params is not None else self.params
        collections = {'batch_stats': self.batch_stats, 'constants': self.constants}
        return {'params': params} | {name: tree for name, tree in collections.items() if tree}


@dataclasses.dataclass
class Progress:
    """How far a run is; with TrainState, all that it needs to go on.

    Attributes:
        step: optimiser steps taken.
        epoch: epochs finished.
        batch: batches taken of the current epoch.
        sums: of loss, error_mm, its terms and count over the examples of the current epoch so far.
        best_validation, best_training: lowest epoch loss, None before the first.
        stale_epochs: epochs since either of them fell.
        seconds: spent so far.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    sums: dict = dataclasses.field(default_factory=dict)
    best_validation: float | None = None
    best_training: float | None = None
    stale_epochs: int = 0
    seconds: float = 0.0

    def end_step(self):
        """Counts a step."""
        self.step += 1
        self.batch += 1

    def is_over(self, num_epochs, early_stop_epochs):
        """Returns whether there is no further epoch; early_stop_epochs 0: no loss is too stale."""
        is_stale = 0 < early_stop_epochs <= self.stale_epochs
        return self.epoch >= num_epochs or is_stale

    def end_epoch(self, training_loss, validation_loss):
        """Closes an epoch; returns whether each of its two losses is the lowest so far.

        As in the thesis, training goes on as long as either of them falls.
        """
        better_training = _is_better(training_loss, self.best_training)
        better_validation = _is_better(validation_loss, self.best_validation)
        if better_training:
            self.best_training = training_loss
        if better_validation:
            self.best_validation = validation_loss
        self.stale_epochs = 0 if better_training or better_validation else self.stale_epochs + 1
        self.epoch += 1
        self.batch, self.sums = 0, {}
        return better_training, better_validation

    def sentence(self):
        """Says what the run reached."""
        return (
            f'{self.step} steps in {self.epoch} epochs and {self.seconds:.0f} s; lowest loss '
            f'{self.best_training:.5g} training, {self.best_validation:.5g} validation'
        )


def create_state(config, model, constants, steps_per_epoch):
    """Draws the parameters and sets up the optimiser."""
    variables = checkpoints.draw_variables(model, config.data.image_size, config.train.seed)
    if jax.tree.map(np.shape, variables.get('constants', {})) != jax.tree.map(np.shape, constants):
        raise ValueError('models.constants does not return the constants of the model')
    params = variables['params']
    return TrainState.create(
        apply_fn=model.apply,
        params=params,
        tx=optimizers.create(config.optimizer, steps_per_epoch),
        batch_stats=variables.get('batch_stats', {}),
        constants=constants,
        ema_params=jax.tree.map(jnp.copy, params) if config.train.ema_decay else None,
    ).replace(step=jnp.zeros((), jnp.int32))


def restore(store, state):
    """Returns state and progress of `latest`, or the state as it is and no progress."""
    state, progress = _read_latest(store, state)
    progress = Progress(**distributed.plain_from_first(dataclasses.asdict(progress)))
    return distributed.from_first(state), progress


def _read_latest(store, state):
    restored = store.restore('latest', state.variables(averaged=False), training_tree(state))
    if restored is None:
        return state, Progress()
    variables, training, meta = restored
    meta.pop('format')
    progress = Progress(**meta)
    state = state.replace(
        step=jnp.asarray(progress.step, jnp.int32),
        params=variables['params'],
        batch_stats=variables.get('batch_stats', {}),
        constants=variables.get('constants', {}),
        opt_state=serialization.from_state_dict(state.opt_state, training['opt_state']),
        ema_params=training.get('ema_params'),
    )
    return state, progress


def training_tree(state):
    """Returns what a run needs to go on besides its variables, a dict for `latest`."""
    tree = {'opt_state': serialization.to_state_dict(state.opt_state)}
    return tree if state.ema_params is None else tree | {'ema_params': state.ema_params}


def _is_better(loss, best):
    return math.isfinite(loss) and (best is None or loss < best)
