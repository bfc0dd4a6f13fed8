"""Trains the correspondence network; a stopped run goes on where it was."""

import contextlib
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqface_jax import checkpoints, models
from seqface_jax.checkpoints.metrics_writer import MetricsWriter
from seqface_jax.data.frame_damage import damage
from seqface_jax.errors import check_choice
from seqface_jax.training import muon, optimizers, picture_supply, point_losses, sums
from seqface_jax.training.correspondence_state import BestLosses, start, variables_of
from seqface_jax.training.progress_bar import progress_bar

_WARM_UP_STEPS = 150
# Parameters that are no matrix between hidden features.
_ANSWERS = ('embedding', 'stem', 'layout_head', 'point_head', 'face_head', 'local_out')
# Step decay: the rate is halved at these shares of the run.
_DECAY_AT = (0.45, 0.6, 0.7, 0.78, 0.85, 0.9, 0.94, 0.97)


def optimizer(config):
    """Returns Adam or Muon with a warm-up and a rate that is halved in steps.

    Raises:
        UserError: config.optimizer.name is neither.
    """
    total = config.train.num_steps
    decay = optax.piecewise_constant_schedule(
        config.optimizer.learning_rate,
        {int(share * total): config.optimizer.decay_factor for share in _DECAY_AT},
    )
    warm = optax.linear_schedule(0.05, 1.0, _WARM_UP_STEPS)

    def rate(step):
        return decay(step) * warm(step)

    check_choice(config.optimizer.name, tuple(_OPTIMIZERS), 'optimizer.name')
    make = _OPTIMIZERS[config.optimizer.name]
    return optax.chain(
        optax.clip_by_global_norm(config.optimizer.clip_norm),
        make(rate, config.optimizer.weight_decay),
    )


def _adam(rate, weight_decay):
    return optax.adamw(rate, b2=muon.ADAM_B2, weight_decay=weight_decay)


def _muon(rate, weight_decay):
    return muon.muon(rate, weight_decay, _is_hidden)


_OPTIMIZERS = {'adam': _adam, 'muon': _muon}


def _is_hidden(path, leaf):
    """Tells a matrix from the embedding and the layers that read pictures or say the answers."""
    del leaf
    return not any(key.key in _ANSWERS for key in path)


def train_step(config, model, tx, state, batch, key):
    """Takes one optimiser step.

    Args:
        config: of the run.
        model: CorrespondenceNetwork.
        tx: optax transformation.
        state: of `correspondence_state.start`.
        batch: of `Supply.batches`.
        key: of the run; the step is folded in.

    Returns:
        the next state and the named terms of the loss.
    """
    damage_key = jax.random.fold_in(key, state['step'])
    frames = damage(damage_key, batch['frames'].astype(jnp.float32) / 255)
    batch = batch | {'frames': frames}

    def loss_fn(params):
        variables = {'params': params, 'constants': state['constants']}
        return point_losses.losses(model, variables, batch, config.train.loss_weights)

    (loss, terms), grads = jax.value_and_grad(loss_fn, has_aux=True)(state['params'])
    updates, opt_state = tx.update(grads, state['opt_state'], state['params'])
    params = optax.apply_updates(state['params'], updates)
    ema = optimizers.moving_average(
        params, state['ema'], step=state['step'], decay=config.train.ema_decay
    )
    terms = terms | {'loss': loss, 'grad_norm': optax.tree.norm(grads)}
    step = state['step'] + 1
    return state | {'params': params, 'ema': ema, 'opt_state': opt_state, 'step': step}, terms


def eval_step(config, model, variables, batch):
    """Returns the loss and its named terms on a batch as it is."""
    batch = batch | {'frames': batch['frames'].astype(jnp.float32) / 255}
    loss, terms = point_losses.losses(model, variables, batch, config.train.loss_weights)
    return terms | {'loss': loss}


def jit_steps(config, model, tx):
    """Returns `train_step` and `eval_step` of a run, compiled where they are first called."""
    step = jax.jit(functools.partial(train_step, config, model, tx), donate_argnums=0)
    return step, jax.jit(functools.partial(eval_step, config, model))


def train(config, workdir, stop_after=None):
    """Trains until config.train.num_steps; goes on where it stopped.

    Args:
        config: as of configs/cpu.py.
        workdir: of the run.
        stop_after: a step after which to stop before the end, or None.

    Raises:
        UserError: there are no pictures, or the loss is not finite.
    """
    options = config.train
    last_step = min(options.num_steps, stop_after or options.num_steps)
    with contextlib.ExitStack() as stack:
        stack.enter_context(checkpoints.lock(workdir))
        checkpoints.write_config(workdir, config)
        store = stack.enter_context(contextlib.closing(checkpoints.Store(workdir)))
        pictures = picture_supply.read(config.data.dir)
        model, tx = models.create(config.model, config.data.image_size), optimizer(config)
        state = start(config, model, tx, pictures, store)
        first, best = int(state['step']), BestLosses(store)
        constants = jax.tree.map(np.asarray, state['constants'])
        step_fn, eval_fn = jit_steps(config, model, tx)
        curves = MetricsWriter(workdir, first, options.loss_weights)
        stack.enter_context(contextlib.closing(curves))
        began = time.monotonic() - curves.last_seconds
        bar = stack.enter_context(progress_bar(first, options.num_steps))
        batches = pictures.batches(config, constants, first)
        key = jax.random.key(options.seed)
        logged, since_checkpoint = [], []
        for step in range(first + 1, last_step + 1):
            state, metrics = step_fn(state, next(batches), key)
            metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
            sums.require_finite(step, metrics)
            logged.append(metrics)
            since_checkpoint.append(metrics['loss'])
            bar.set_postfix(loss=f'{metrics["loss"]:.3g}', refresh=False)
            bar.update()
            if step % options.log_every_steps == 0 or step == last_step:
                seconds = round(time.monotonic() - began, 3)
                curves.write('training', step=step, seconds=seconds, **_mean(logged))
                logged = []
            if step % options.checkpoint_every_steps == 0 or step == last_step:
                evaluate = functools.partial(eval_fn, variables_of(state))
                validation = _mean(map(evaluate, pictures.validation_batches(config, constants)))
                seconds = round(time.monotonic() - began, 3)
                curves.write('validation', step=step, seconds=seconds, **validation)
                training_loss = float(np.mean(since_checkpoint))
                since_checkpoint = []
                losses = {'best_validation': validation['loss'], 'best_training': training_loss}
                best.save(state, step, losses)
        store.wait()


def _mean(metrics):
    """Returns the mean of each of the metrics of several batches, a dict of float."""
    metrics = [jax.device_get(own) for own in metrics]
    return {name: np.mean([float(own[name]) for own in metrics]) for name in metrics[0]}
