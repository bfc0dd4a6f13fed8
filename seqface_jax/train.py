"""Trains a network: state, step, loop.

Batch i of epoch e is a function of (seed, e, i) and every draw on the device one of (seed, step),
so that a run which is stopped and started again ends with the same parameters.
"""

import contextlib
import dataclasses
import functools
import math
import os
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import serialization
from flax.training import train_state
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tqdm import tqdm

from seqface_jax import checkpoints, models
from seqface_jax.checkpoints.metrics_writer import MetricsWriter
from seqface_jax.data import augmentation, input_pipeline
from seqface_jax.errors import UserError
from seqface_jax.geometry import face_regions, voxels
from seqface_jax.training import distributed, losses, optimizers

AXIS = 'batch'  # Of the devices; normalisation over the whole batch averages over it.
VALIDATION_EPOCH = 0  # The same sequences at each validation.
SAMPLED_MAPS = 1024  # Frames of the training split, for the directions of their expressions.
_TARGETS = {'position_map': ('position_map', 'mask'), 'points': ('points',)}


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
        sums: of loss, error_mm and count over the examples of the current epoch so far.
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


def sequence_losses(config, prediction, batch, constants):
    """Returns the loss and the error in mm after the last frame of each sequence, [B] and [B]."""
    predicted = prediction.position_map
    side = predicted.shape[-2]
    target, mask = losses.ordered_target(batch, config.data.target, side)
    loss = _loss(config, prediction, batch, target, mask, constants)
    if config.train.uncertainty_weight and prediction.log_variance is not None:
        nll = losses.gaussian_nll(predicted, prediction.log_variance, target, mask)
        loss += config.train.uncertainty_weight * nll
    if config.train.frame_weight:
        frame_mm = losses.frame_l1(prediction.frame_map, predicted, batch)
        loss += config.train.frame_weight * frame_mm
    return loss, losses.masked_l1(predicted[:, -1:], target, mask)


def _loss(config, prediction, batch, target, mask, constants):
    """Returns the loss that config.train.loss names, [B]."""
    name = config.train.loss
    if name == 'masked_l1':
        return losses.masked_l1(prediction.position_map, target, mask)
    if name == 'index_mse':
        return losses.index_mse(prediction.position_map, target, constants['scale_mm'])
    if name == 'voxels':
        logits = prediction.voxels.logits
        box = constants['corner_mm'], constants['cell_mm'], logits.shape[-1]
        return losses.voxel_cross_entropy(logits, voxels.occupancy(batch['position_map'], *box))
    if name not in losses.NAMES:
        raise ValueError(f'train.loss {name!r} is not one of {losses.NAMES}')
    side = prediction.image_map.shape[-2]
    of_first = models.reads(config.model) in ('pair', 'front')
    target, mask = losses.image_target(batch, side, of_first=of_first)
    if name == 'weighted_image':
        weights = face_regions.training_weights(side)
        return losses.weighted_image(prediction.image_map, target, mask, weights)
    loss = losses.image_mse(prediction.image_map, target, mask)
    if name == 'rotated_views':
        side = prediction.views['fitted'].shape[-2]
        seen = losses.image_target(batch, side, of_first=False)
        weights = face_regions.training_weights(side)
        loss += losses.VIEWS_WEIGHT * losses.rotated_views(prediction.views, *seen, weights)
    return loss


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
    frames = input_pipeline.normalize_frames(batch['frames'], config.data.normalization)
    dropout_key = jax.random.fold_in(dropout_key, batch['row'][0])  # Another on each device.

    def loss_fn(params):
        prediction, updates = state.apply_fn(
            state.variables(averaged=False) | {'params': params},
            frames,
            train=True,
            last_only=_last_only(config),
            mutable=['batch_stats'],
            rngs={'dropout': dropout_key},
        )
        loss, error_mm = sequence_losses(config, prediction, batch, state.constants)
        sums = _sums({'loss': loss, 'error_mm': error_mm}, batch['weight'])
        return loss.mean(), (updates, sums)

    (loss, (updates, sums)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    loss, grads, batch_stats = jax.lax.pmean(
        (loss, grads, updates.get('batch_stats', state.batch_stats)), AXIS
    )
    state = state.apply_gradients(grads=grads, batch_stats=batch_stats)
    if state.ema_params is not None:
        # Short at first, so that the average forgets the random start.
        decay = jnp.minimum(config.train.ema_decay, state.step / (state.step + 9.0))
        average = functools.partial(optax.incremental_update, step_size=1 - decay)
        state = state.replace(ema_params=average(state.params, state.ema_params))
    metrics = {'loss': loss, 'grad_norm': optax.tree.norm(grads)}
    return state, metrics | {'sums': jax.lax.psum(sums, AXIS)}


def eval_step(config, model, variables, batch):
    """Returns the sums of loss, error_mm and count over the real examples of a batch.

    Those of `losses.error_and_variance` too, where the network is to be calibrated.
    """
    frames = input_pipeline.normalize_frames(batch['frames'], config.data.normalization)
    prediction = model.apply(variables, frames, train=False, last_only=_last_only(config))
    constants = variables.get('constants', {})
    loss, error_mm = sequence_losses(config, prediction, batch, constants)
    examples = {'loss': loss, 'error_mm': error_mm}
    if models.VARIANCE_SCALE in constants:
        predicted = prediction.position_map
        target = losses.ordered_target(batch, config.data.target, predicted.shape[-2])
        squared_error, variance = losses.error_and_variance(
            predicted, prediction.log_variance, *target
        )
        examples |= {'squared_error': squared_error, 'variance': variance}
    return jax.lax.psum(_sums(examples, batch['weight']), AXIS)


def mean_losses(config, step, devices, split):
    """Averages what `eval_step` sums up over a split, every real example once.

    Args:
        config: of the run.
        step: maps a batch that is split over the devices to its sums, as `eval_step`.
        devices: Devices.
        split: input_pipeline.Split.

    Returns:
        dict of loss and error_mm, and of squared_error and variance where they are summed.
    """
    sums = {}
    for batch in split.batches(config.train.seed, VALIDATION_EPOCH, share=distributed.share()):
        batch = devices.deal(batch, config)
        sums = _add(sums, jax.device_get(step(batch)))
    return _means(sums)


def calibrate(variables, validation):
    """Scales the variances that a network states by how far it is off on people of validation.

    In training dropout and augmentation make a network worse than it is without, and it learns to
    say so.

    Args:
        variables: collections of arrays, as for `model.apply`.
        validation: of `mean_losses`, with those variables.

    Returns:
        the variables, with another constant VARIANCE_SCALE if they have it.
    """
    constants = variables.get('constants', {})
    if models.VARIANCE_SCALE not in constants:
        return variables
    ratio = validation['squared_error'] / validation['variance']
    scale = constants[models.VARIANCE_SCALE] * np.float32(ratio)
    return variables | {'constants': constants | {models.VARIANCE_SCALE: scale}}


def is_due(count, every):
    """Whether something done `every` so many times is due at `count`; 0 turns it off."""
    return every > 0 and count % every == 0


def train_and_evaluate(config, workdir, max_seconds=None):
    """Trains until the last epoch or until the losses stop falling; goes on where it stopped.

    Args:
        config: as of configs/default.py.
        workdir: folder of the run; made if it is not there.
        max_seconds: also ends with the epoch in which the run is that old; None: does not.

    Returns:
        the Progress at the end.

    Raises:
        UserError: the data, the config or the workdir do not allow it, or the loss is not finite.
    """
    workdir = os.path.abspath(workdir)
    with contextlib.ExitStack() as stack:
        if distributed.is_first():
            stack.enter_context(checkpoints.lock(workdir))
            checkpoints.write_config(workdir, config)
        run = stack.enter_context(contextlib.closing(_Run(config, workdir, max_seconds)))
        return run.until_end()


class _Run:
    """A run in its loop: what is read, what is stepped, where it is written."""

    def __init__(self, config, workdir, max_seconds):
        self._config = config
        self._max_seconds = math.inf if max_seconds is None else max_seconds
        self._devices = Devices(config.data.batch_size)
        dataset = input_pipeline.open_dataset(config.data)
        self._training = dataset.split(config.data.train_split)
        self._validation = dataset.split(config.data.validation_split)
        self._num_batches = self._training.num_batches()
        if config.train.frame_weight:
            _check_frame_weight(config)
        model = models.create(
            config.model,
            config.data.image_size,
            scan_unroll=config.train.scan_unroll,
            axis_name=AXIS,
        )
        start = _start(config)
        constants = start['constants'] if start else _constants(config, self._training)
        if config.train.loss == 'index_mse' and 'scale_mm' not in constants:
            raise UserError(
                f"train.loss=index_mse needs a model with a scale; '{config.model.name}' has none: "
                'use masked_l1'
            )
        state = create_state(config, model, constants, self._num_batches)
        if start:
            state = _with_variables(state, start)
        first = distributed.is_first()
        self._store = checkpoints.Store(workdir) if first else distributed.Silent()
        state, self._progress = _restore(self._store, state)
        self._state = self._devices.replicate(state)
        self._train_step = self._devices.map(
            functools.partial(train_step, config), num_outputs=2, donate=True
        )
        self._eval_step = self._devices.map(
            functools.partial(eval_step, config, model), num_outputs=1, donate=False
        )
        step = self._progress.step
        self._writer = MetricsWriter(workdir, step) if first else distributed.Silent()
        self._learning_rate = optimizers.schedule(config.optimizer, self._num_batches)
        self._pending = []
        self._started = time.monotonic() - self._progress.seconds

    def describe(self):
        """Says what is trained on what, and from where."""
        num_parameters = sum(leaf.size for leaf in jax.tree.leaves(self._state.params))
        return (
            f'{len(self._training.subject_ids)} people to train on and '
            f'{len(self._validation.subject_ids)} to validate, {self._num_batches} steps per '
            f'epoch, {num_parameters:,} parameters, {self._devices.count} device(s) '
            f'({self._devices.platform}), from step {self._progress.step}'
        )

    def until_end(self):
        """Trains epoch after epoch; returns the Progress."""
        progress, options = self._progress, self._config.train
        with _progress_bar(progress.step, options.num_epochs * self._num_batches) as bar:
            bar.write(self.describe(), file=sys.stderr)
            while progress.epoch < options.num_epochs and not self._is_over():
                self._train_epoch(bar)
                self._end_epoch(bar)
        return progress

    def close(self):
        self._store.close()
        self._writer.close()

    def _is_over(self):
        limit = self._config.train.early_stop_epochs
        is_stale = 0 < limit <= self._progress.stale_epochs
        return is_stale or self._progress.seconds >= self._max_seconds

    def _train_epoch(self, bar):
        progress, options = self._progress, self._config.train
        batches = self._training.batches(
            options.seed, progress.epoch, progress.batch, share=distributed.share()
        )
        for batch in batches:
            batch = self._devices.deal(batch, self._config)
            self._state, metrics = self._train_step(self._state, batch)
            progress.step += 1
            progress.batch += 1
            self._pending.append((progress.step, metrics))
            is_log_due = is_due(progress.step, options.log_every_steps)
            # Several steps in flight on forced CPU devices wait for each other for ever.
            if is_log_due or self._devices.platform == 'cpu' or len(self._pending) >= 20:
                last = self._collect()
                bar.set_postfix(epoch=progress.epoch + 1, loss=f'{last["loss"]:.4g}', refresh=False)
            if is_log_due:
                self._log_step(last)
            bar.update()
            is_epoch_end = progress.batch == self._num_batches
            if is_due(progress.step, options.checkpoint_every_steps) and not is_epoch_end:
                self._collect()
                self._save_latest()
        self._collect()

    def _collect(self):
        """Adds the pending steps to the sums of the epoch; returns the last one's metrics."""
        metrics = None
        for step, metrics in jax.device_get(self._pending):
            if not math.isfinite(metrics['loss']) or not math.isfinite(metrics['grad_norm']):
                raise UserError(
                    f'the loss or its gradient is not finite at step {step}: lower '
                    'optimizer.learning_rate, or set optimizer.clip_norm'
                )
            self._progress.sums = _add(self._progress.sums, metrics['sums'])
        self._pending = []
        return metrics

    def _log_step(self, metrics):
        weight = float(metrics['sums']['count'])
        self._write(
            'step',
            loss=float(metrics['loss']),
            error_mm=float(metrics['sums']['error_mm']) / weight,
            learning_rate=float(self._learning_rate(self._progress.step - 1)),
            grad_norm=float(metrics['grad_norm']),
        )

    def _end_epoch(self, bar):
        """Validates, keeps what is best, and closes the epoch."""
        progress = self._progress
        training = _means(progress.sums)
        validation = self._validate()
        better_training, better_validation = progress.end_epoch(
            training['loss'], validation['loss']
        )
        self._write('training', loss=training['loss'], error_mm=training['error_mm'])
        self._write('validation', loss=validation['loss'], error_mm=validation['error_mm'])
        meta = {'training_loss': training['loss'], 'validation_loss': validation['loss']}
        variables = calibrate(self._state.variables(averaged=True), validation)
        if better_validation:
            self._save_best('best_validation', variables, meta)
        if better_training:
            self._save_best('best_training', variables, meta)
        self._store.wait()  # `latest` says what is best: it comes after.
        self._save_latest()
        bar.write(
            f'epoch {progress.epoch}: loss {training["loss"]:.4g} training, '
            f'{validation["loss"]:.4g} validation; error {training["error_mm"]:.2f} and '
            f'{validation["error_mm"]:.2f} mm',
            file=sys.stderr,
        )

    def _validate(self):
        variables = self._state.variables(averaged=True)
        step = functools.partial(self._eval_step, variables)
        return mean_losses(self._config, step, self._devices, self._validation)

    def _save_best(self, which, variables, meta):
        place = {'step': self._progress.step, 'epoch': self._progress.epoch}
        self._store.save(which, variables, meta | place)

    def _save_latest(self):
        self._progress.seconds = time.monotonic() - self._started
        self._store.save(
            'latest',
            self._state.variables(averaged=False),
            dataclasses.asdict(self._progress),
            training=_training_tree(self._state),
        )

    def _write(self, kind, **values):
        epoch = self._progress.epoch + (kind == 'step')
        seconds = round(time.monotonic() - self._started, 3)
        self._writer.write(kind, step=self._progress.step, epoch=epoch, seconds=seconds, **values)


class Devices:
    """The devices of all processes; the batch is split over them, all else is on each."""

    def __init__(self, batch_size):
        devices = jax.devices()
        self.count = len(devices)
        self.platform = devices[0].platform
        if batch_size % self.count:
            raise UserError(
                f'data.batch_size={batch_size} cannot be split over {self.count} devices: choose a '
                f'multiple of {self.count}'
            )
        # pmap takes arrays laid out on a mesh of the same axis as they are: no second compilation.
        mesh = jax.make_mesh((self.count,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec(AXIS))

    def map(self, function, *, num_outputs, donate):
        """Maps function(replicated, part of a batch) over the devices; outputs are replicated."""
        return jax.pmap(
            function,
            axis_name=AXIS,
            in_axes=(None, 0),
            out_axes=None if num_outputs == 1 else (None,) * num_outputs,
            donate_argnums=(0,) if donate else (),
        )

    def replicate(self, tree):
        """Copies a tree to every device."""
        return jax.device_put(tree, self._replicated)

    def deal(self, batch, config):
        """Deals this process's rows of a batch to its devices, without the unused targets."""
        kept = ['frames', 'weight', 'row', *_TARGETS[config.data.target]]
        if config.train.loss in losses.OF_IMAGE_MAPS:
            kept += ['image_map', 'image_mask']
        if config.train.frame_weight:
            kept += ['frame_map', 'frame_mask']
        batch = {name: batch[name] for name in kept}
        count = self.count // jax.process_count()
        parts = jax.tree.map(lambda a: a.reshape(count, -1, *a.shape[1:]), batch)
        return jax.make_array_from_process_local_data(self._split, parts)


def _constants(config, training):
    """Computes what the network knows of the training split beforehand."""
    table = training.subjects
    if config.train.frame_weight:
        table = table | training.sample_deformations(SAMPLED_MAPS)
    constants = models.constants(config.model, table, training.sample_frames)
    return jax.tree.map(np.float32, constants)


def _start(config):
    """Returns the variables of the run that training starts from; {}: it starts from none.

    Raises:
        UserError: there is no such run, or it has another network than the config.
    """
    workdir = config.train.start_from
    if not workdir:
        return {}
    if workdir == 'pretrained':
        workdir = checkpoints.pretrained()
    its_config, _, variables = checkpoints.load(workdir, 'best_validation')
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


def _check_frame_weight(config):
    """Raises UserError where the data or the network have no faces of single frames."""
    lacking = []
    if not config.data.frame_maps:
        lacking.append('data.frame_maps=True (records prepared with --frame_maps)')
    if not config.model.get('expression_size', 0):
        lacking.append('a model.expression_size above 0 (of the model fusion)')
    if config.data.target != 'position_map':
        lacking.append('data.target=position_map')
    if lacking:
        raise UserError(f'train.frame_weight needs {" and ".join(lacking)}')


def _restore(store, state):
    """Returns state and progress of `latest`, or the state as it is and no progress."""
    state, progress = _read_latest(store, state)
    progress = Progress(**distributed.plain_from_first(dataclasses.asdict(progress)))
    return distributed.from_first(state), progress


def _read_latest(store, state):
    restored = store.restore('latest', state.variables(averaged=False), _training_tree(state))
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


def _training_tree(state):
    tree = {'opt_state': serialization.to_state_dict(state.opt_state)}
    return tree if state.ema_params is None else tree | {'ema_params': state.ema_params}


def _last_only(config):
    return config.train.loss in losses.OF_LAST_ANSWER


def _sums(examples, weight):
    """Adds up each array [B] of a dict over the real examples, and counts these."""
    sums = {name: jnp.sum(values * weight) for name, values in examples.items()}
    return sums | {'count': jnp.sum(weight)}


def _add(sums, more):
    """Adds on the host, in float64: the order, and so the result, is that of the batches."""
    return {name: sums.get(name, 0.0) + float(value) for name, value in more.items()}


def _means(sums):
    return {name: total / sums['count'] for name, total in sums.items() if name != 'count'}


def _is_better(loss, best):
    return math.isfinite(loss) and (best is None or loss < best)


def _progress_bar(step, total):
    """Shows rate and time left; rarely where nobody watches, not at all for other processes."""
    if not distributed.is_first():
        return distributed.Silent()
    interval = 0.5 if sys.stderr.isatty() else 30.0
    return tqdm(
        initial=step, total=total, unit='step', mininterval=interval, maxinterval=2 * interval
    )
