"""Trains the correspondence network; a stopped run goes on where it was."""

import contextlib
import csv
import functools
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import serialization
from tqdm import tqdm

from seqface_jax import checkpoints, files, models
from seqface_jax.correspondence import objective, pictures
from seqface_jax.correspondence.damage import damage
from seqface_jax.errors import UserError

VALIDATION_SHARDS = 1  # The first ones; no person of theirs is trained on.
_WARM_UP_STEPS = 150
# Step decay: the rate is halved at these shares of the run.
_DECAY_AT = (0.45, 0.6, 0.7, 0.78, 0.85, 0.9, 0.94, 0.97)


def optimizer(config):
    """Returns Adam with a warm-up and a rate that is halved in steps."""
    total = config.train.num_steps
    decay = optax.piecewise_constant_schedule(
        config.optimizer.learning_rate,
        {int(share * total): config.optimizer.decay_factor for share in _DECAY_AT},
    )
    warm = optax.linear_schedule(0.05, 1.0, _WARM_UP_STEPS)

    def rate(step):
        return decay(step) * warm(step)

    return optax.chain(
        optax.clip_by_global_norm(config.optimizer.clip_norm),
        optax.adamw(rate, b2=0.99, weight_decay=config.optimizer.weight_decay),
    )


def train_step(model, tx, ema_decay, state, batch, key):
    """Takes one optimiser step.

    Args:
        model: CorrespondenceNetwork.
        tx: optax transformation.
        ema_decay: of the averaged parameters.
        state: dict of params, ema, opt_state, constants, step.
        batch: of `pictures.make_batch`.
        key: of the run; the step is folded in.

    Returns:
        the next state and the named terms of the loss.
    """
    damage_key = jax.random.fold_in(key, state['step'])
    frames = damage(damage_key, batch['frames'].astype(jnp.float32) / 255)
    batch = batch | {'frames': frames}

    def loss_fn(params):
        variables = {'params': params, 'constants': state['constants']}
        return objective.losses(model, variables, batch)

    (loss, terms), grads = jax.value_and_grad(loss_fn, has_aux=True)(state['params'])
    updates, opt_state = tx.update(grads, state['opt_state'], state['params'])
    params = optax.apply_updates(state['params'], updates)
    decay = jnp.minimum(ema_decay, state['step'] / (state['step'] + 9.0))
    ema = optax.incremental_update(params, state['ema'], 1 - decay)
    terms = terms | {'loss': loss, 'grad_norm': optax.tree.norm(grads)}
    step = state['step'] + 1
    return state | {'params': params, 'ema': ema, 'opt_state': opt_state, 'step': step}, terms


def eval_step(model, variables, batch):
    """Returns the named terms of the loss on a batch as it is."""
    batch = batch | {'frames': batch['frames'].astype(jnp.float32) / 255}
    loss, terms = objective.losses(model, variables, batch)
    return terms | {'loss': loss}


def train(config, workdir, stop_after=None):
    """Trains until config.train.num_steps.

    Args:
        config: as of configs/correspondence.py.
        workdir: of the run.
        stop_after: a step after which to stop before the end, or None.

    Raises:
        UserError: there are no pictures, or the loss is not finite.
    """
    with checkpoints.lock(workdir):
        checkpoints.write_config(workdir, config)
        with contextlib.closing(checkpoints.Store(workdir)) as store:
            _loop(config, store, workdir, min(config.train.num_steps, stop_after or math.inf))


def _loop(config, store, workdir, last_step):
    folder, size, points = config.data.dir, config.data.image_size, _read_points(config)
    held_out = pictures.Pictures(folder, 0, VALIDATION_SHARDS)
    data = pictures.Pictures(folder, VALIDATION_SHARDS)
    shared = np.isin(data.person, held_out.person)
    if shared.any():  # The person on the border of two shards is not trained on.
        data.is_face[shared] = False
        data.seen[shared] = False
    model = models.create(config.model, size)
    tx = optimizer(config)
    state = _start(config, model, tx, data, points['mirror'], store)
    step_fn = jax.jit(
        functools.partial(train_step, model, tx, config.train.ema_decay), donate_argnums=0
    )
    eval_fn = jax.jit(functools.partial(eval_step, model))
    key = jax.random.key(config.train.seed)
    first = int(state['step'])
    reference = np.asarray(state['constants']['layout_mean'])
    layouts = np.asarray(state['constants']['layouts'])

    def make(rng):
        count = config.data.batch_size
        indices = rng.integers(0, len(data), count)
        batch = pictures.make_batch(
            data, indices, size, points['mirror'], rng, augment=True, reference=reference
        )
        return batch | objective.draw_starts(rng, count, layouts)

    supply = pictures.ahead(make, config.train.seed, first)
    best = {which: _best_loss(store, which) for which in ('best_validation', 'best_training')}
    bar = tqdm(initial=first, total=config.train.num_steps, unit='step', mininterval=1.0)
    logged, since_checkpoint = [], []
    for step in range(first + 1, last_step + 1):
        state, terms = step_fn(state, next(supply), key)
        terms = {name: float(value) for name, value in jax.device_get(terms).items()}
        if not math.isfinite(terms['loss']):
            raise UserError(
                f'the loss is not finite at step {step}: lower optimizer.learning_rate and start '
                'again; the checkpoint before is kept'
            )
        logged.append(terms)
        since_checkpoint.append(terms['loss'])
        bar.set_postfix(loss=f'{terms["loss"]:.3g}', refresh=False)
        bar.update()
        if step % config.train.log_every_steps == 0 or step == last_step:
            _log(workdir, step, 'training', _mean_terms(logged))
            logged = []
        if step % config.train.checkpoint_every_steps == 0 or step == last_step:
            variables = {'params': state['ema'], 'constants': state['constants']}
            validation = _validate(eval_fn, variables, held_out, size, points['mirror'])
            _log(workdir, step, 'validation', validation)
            losses = {
                'best_validation': validation['loss'],
                'best_training': float(np.mean(since_checkpoint)),
            }
            since_checkpoint = []
            meta = {'step': step} | {f'{which}_loss': loss for which, loss in losses.items()}
            for which, loss in losses.items():
                if loss < best[which]:
                    best[which] = loss
                    store.save(which, variables, meta)
            training = {name: state[name] for name in ('params', 'ema')}
            training['opt_state'] = serialization.to_state_dict(state['opt_state'])
            store.save('latest', variables, meta, training=training)
    bar.close()
    store.wait()


def _best_loss(store, which):
    """Returns the loss of a run's best checkpoint so far; infinity if there is none."""
    restored = store.restore(which)
    return math.inf if restored is None else restored[2].get(f'{which}_loss', math.inf)


def _mean_terms(logged):
    return {name: np.mean([terms[name] for terms in logged]) for name in logged[0]}


def _read_points(config):
    path = os.path.join(config.data.dir, 'points.npz')
    advice = '`python -m data_prep.hard_pictures` writes it beside the pictures'
    return files.read_arrays(path, advice)


def _start(config, model, tx, data, mirror, store):
    size = config.data.image_size
    variables = checkpoints.draw_variables(model, size, config.train.seed)
    params = variables['params']
    state = {'params': params, 'ema': jax.tree.map(jnp.copy, params), 'opt_state': tx.init(params)}
    template = {name: state[name] for name in ('params', 'ema')}
    template['opt_state'] = serialization.to_state_dict(state['opt_state'])
    restored = store.restore('latest', variables, template)
    if restored is None:
        mean = pictures.mean_layout(data)
        layouts = pictures.layouts(data, size, mirror, config.model.num_layouts, mean)
        constants = {'layout_mean': jnp.asarray(mean), 'layouts': jnp.asarray(layouts)}
        return state | {'constants': constants, 'step': jnp.zeros((), jnp.int32)}
    variables, training, meta = restored
    opt_state = serialization.from_state_dict(state['opt_state'], training['opt_state'])
    return {
        'params': training['params'],
        'ema': training['ema'],
        'opt_state': opt_state,
        'constants': variables['constants'],
        'step': jnp.asarray(meta['step'], jnp.int32),
    }


def _validate(eval_fn, variables, held_out, size, mirror):
    sums, count = {}, 0
    reference, layouts = (
        np.asarray(variables['constants'][name]) for name in ('layout_mean', 'layouts')
    )
    for start in range(0, len(held_out), 100):
        rng = np.random.default_rng([0, start])
        indices = np.arange(start, min(start + 100, len(held_out)))
        batch = pictures.make_batch(
            held_out, indices, size, mirror, rng, augment=True, reference=reference
        )
        batch |= objective.draw_starts(rng, len(indices), layouts)
        terms = jax.device_get(eval_fn(variables, batch))
        sums = {name: sums.get(name, 0.0) + float(value) for name, value in terms.items()}
        count += 1
    return {name: value / count for name, value in sums.items()}


def _log(workdir, step, kind, terms):
    """Adds a line for each term of the loss to metrics.csv."""
    path = os.path.join(workdir, 'metrics.csv')
    is_new = not os.path.exists(path)
    with open(path, 'a', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        if is_new:
            writer.writerow(('step', 'kind', 'term', 'value'))
        for name, value in sorted(terms.items()):
            writer.writerow((step, kind, name, f'{value:.6g}'))
