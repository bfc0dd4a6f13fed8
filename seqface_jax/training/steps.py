"""What is done with one batch: a step of training, and a look at a batch of validation."""

import functools

import jax
import optax

from seqface_jax import models
from seqface_jax.data import augmentation
from seqface_jax.models import normalization
from seqface_jax.training import losses, optimizers, sums
from seqface_jax.training.devices import AXIS
from seqface_jax.training.objective import last_only, sequence_losses


def train_step(config, state, batch):
    """Takes one optimiser step on this device's part of a batch.

    Returns:
        the new state, and over the whole batch: loss (what was minimised), grad_norm, and the
        sums over its real examples as of `eval_step`.
    """
    key = jax.random.fold_in(jax.random.key(config.train.seed), state.step)
    augmentation_key, dropout_key = jax.random.split(key)
    if config.data.augmentation.enabled:
        batch = augmentation.augment(augmentation_key, batch, config.data.augmentation)
    frames = normalization.normalize_frames(batch['frames'], config.data.normalization)
    dropout_key = jax.random.fold_in(dropout_key, batch['row'][0])  # Another on each device.

    def loss_fn(params):
        prediction, updates = state.apply_fn(
            state.variables(averaged=False) | {'params': params},
            frames,
            train=True,
            last_only=last_only(config),
            mutable=['batch_stats'],
            rngs={'dropout': dropout_key},
        )
        loss, terms, error_mm = sequence_losses(config, prediction, batch, state.constants)
        examples = {'loss': loss, 'error_mm': error_mm} | terms
        return loss.mean(), (updates, sums.of_batch(examples, batch['weight']))

    (loss, (updates, totals)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    loss, grads, batch_stats = jax.lax.pmean(
        (loss, grads, updates.get('batch_stats', state.batch_stats)), AXIS
    )
    state = state.apply_gradients(grads=grads, batch_stats=batch_stats)
    if state.ema_params is not None:
        average = functools.partial(
            optimizers.moving_average, step=state.step, decay=config.train.ema_decay
        )
        state = state.replace(ema_params=average(state.params, state.ema_params))
    metrics = {'loss': loss, 'grad_norm': optax.tree.norm(grads)}
    return state, metrics | {'sums': jax.lax.psum(totals, AXIS)}


def eval_step(config, model, variables, batch):
    """Returns the sums of loss, error_mm, the terms and count over a batch's real examples.

    Those of `losses.error_and_variance` too, where the network is to be calibrated.
    """
    frames = normalization.normalize_frames(batch['frames'], config.data.normalization)
    prediction = model.apply(variables, frames, train=False, last_only=last_only(config))
    constants = variables.get('constants', {})
    loss, terms, error_mm = sequence_losses(config, prediction, batch, constants)
    examples = {'loss': loss, 'error_mm': error_mm} | terms
    if models.VARIANCE_SCALE in constants:
        predicted = prediction.position_map
        target = losses.ordered_target(batch, config.data.target, predicted.shape[-2])
        squared_error, variance = losses.error_and_variance(
            predicted, prediction.log_variance, *target
        )
        examples |= {'squared_error': squared_error, 'variance': variance}
    return jax.lax.psum(sums.of_batch(examples, batch['weight']), AXIS)


def on_devices(config, model, devices):
    """Returns train_step(state, batch) and eval_step(variables, batch) on a Devices' devices."""
    train = functools.partial(train_step, config)
    evaluate = functools.partial(eval_step, config, model)
    return (
        devices.map(train, num_outputs=2, donate=True),
        devices.map(evaluate, num_outputs=1, donate=False),
    )
