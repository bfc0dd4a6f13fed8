"""Trains a network on sequences of frames, or goes on with a training that was stopped.

Batch i of epoch e is a function of (seed, e, i) and every draw on the device one of (seed, step),
so that a run which is stopped and started again ends with the same parameters.
"""

import functools
import os
import sys

import jax

from seqface_jax import checkpoints, models
from seqface_jax.data import input_pipeline
from seqface_jax.training import cpu_devices, distributed, objective, optimizers, steps, sums
from seqface_jax.training.devices import AXIS, Devices
from seqface_jax.training.progress_bar import progress_bar
from seqface_jax.training.run_folder import RunFolder
from seqface_jax.training.start import start_state
from seqface_jax.training.steps_in_flight import StepsInFlight
from seqface_jax.training.validation import calibrate, mean_losses


def is_due(count, every):
    """Whether something done `every` so many times is due at `count`; 0 turns it off."""
    return every > 0 and count % every == 0


def train(config, workdir, coordinator=None, num_processes=None, process_id=None):
    """Trains the network of a config: the flagship's on pictures, any other on records.

    Args:
        config, workdir: as of `train_and_evaluate`, or of correspondence_training.train.
        coordinator, num_processes, process_id: as of distributed.job; the flagship is trained by
            one process.

    Returns:
        str, how far it came; None where another process, or the training itself, says it.

    Raises:
        UserError: as of `train_and_evaluate`, correspondence_training.train and distributed.job.
    """
    if config.model.name == checkpoints.FLAGSHIP:
        from seqface_jax.training import correspondence_training

        correspondence_training.train(config, workdir)
        return None
    if coordinator is None:
        cpu_devices.set_up(config)
    with distributed.job(coordinator, num_processes, process_id):
        progress = train_and_evaluate(config, workdir)
        return progress.sentence() if distributed.is_first() else None


def train_and_evaluate(config, workdir, is_enough=None):
    """Trains until the last epoch or until the losses stop falling; goes on where it stopped.

    Args:
        config: as of configs/default.py.
        workdir: folder of the run; made if it is not there.
        is_enough: function without arguments, asked before each epoch whether training ends here,
            besides what the config says; None: never.

    Returns:
        the Progress at the end.

    Raises:
        UserError: the data, the config or the workdir do not allow it, or the loss is not finite.
    """
    options = config.train
    limits = options.num_epochs, options.early_stop_epochs
    with RunFolder(os.path.abspath(workdir), config, objective.term_names(config)) as folder:
        objective.check(config, None)
        devices = Devices(config.data.batch_size)
        dataset = input_pipeline.open_dataset(config.data)
        training = dataset.split(config.data.train_split)
        validation = dataset.split(config.data.validation_split)
        num_batches = training.num_batches()
        given = {'scan_unroll': options.scan_unroll, 'axis_name': AXIS}
        model = models.create(config.model, config.data.image_size, **given)
        state, progress = folder.restore(start_state(config, model, training))
        state = devices.replicate(state)
        train_step, eval_step = steps.on_devices(config, model, devices)
        learning_rate = optimizers.schedule(config.optimizer, num_batches)
        in_flight = StepsInFlight(devices.platform)
        with progress_bar(progress.step, options.num_epochs * num_batches) as bar:
            bar.write(_describe(training, validation, state, devices, progress), file=sys.stderr)
            while not progress.is_over(*limits) and not (is_enough and is_enough()):
                for batch in training.batches(
                    options.seed, progress.epoch, progress.batch, share=distributed.share()
                ):
                    state, metrics = train_step(state, devices.deal(batch, config))
                    progress.end_step()
                    in_flight.add(progress.step, metrics)
                    is_log_due = is_due(progress.step, options.log_every_steps)
                    if is_log_due or in_flight.is_full:
                        last = in_flight.collect(progress)
                        loss = f'{last["loss"]:.4g}'
                        bar.set_postfix(epoch=progress.epoch + 1, loss=loss, refresh=False)
                    if is_log_due:
                        _log_step(folder, progress, last, learning_rate)
                    bar.update()
                    is_epoch_end = progress.batch == num_batches
                    if is_due(progress.step, options.checkpoint_every_steps) and not is_epoch_end:
                        in_flight.collect(progress)
                        folder.save_latest(state, progress)
                in_flight.collect(progress)
                variables = state.variables(averaged=True)
                step = functools.partial(eval_step, variables)
                found = mean_losses(config, step, devices, validation)
                _end_epoch(folder, progress, variables, found, bar)
                folder.save_latest(state, progress)
        return progress


def _describe(training, validation, state, devices, progress):
    """Says what is trained on what, and from where."""
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    return (
        f'{len(training.subject_ids)} people to train on and {len(validation.subject_ids)} to '
        f'validate, {training.num_batches()} steps per epoch, {num_parameters:,} parameters, '
        f'{devices.count} device(s) ({devices.platform}), from step {progress.step}'
    )


def _log_step(folder, progress, metrics, learning_rate):
    """Writes the curves of one batch."""
    rate = float(learning_rate(progress.step - 1))
    values = sums.means({name: float(value) for name, value in metrics['sums'].items()})
    values |= {'loss': float(metrics['loss']), 'grad_norm': float(metrics['grad_norm'])}
    folder.log('step', progress, values | {'learning_rate': rate})


def _end_epoch(folder, progress, variables, validation, bar):
    """Closes an epoch: writes its curves, and keeps what is best.

    Args:
        folder, progress, bar: of the run.
        variables: with averaged parameters, those that were validated.
        validation: of `mean_losses`.
    """
    training = sums.means(progress.sums)
    better_training, better_validation = progress.end_epoch(training['loss'], validation['loss'])
    folder.log('training', progress, training)
    folder.log('validation', progress, validation)
    variables = calibrate(variables, validation)
    if better_validation:
        folder.save_best('best_validation', variables, progress, training, validation)
    if better_training:
        folder.save_best('best_training', variables, progress, training, validation)
    bar.write(
        f'epoch {progress.epoch}: loss {training["loss"]:.4g} training, '
        f'{validation["loss"]:.4g} validation; error {training["error_mm"]:.2f} and '
        f'{validation["error_mm"]:.2f} mm',
        file=sys.stderr,
    )
