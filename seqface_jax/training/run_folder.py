"""What a run writes while it trains: its config, checkpoints and curves."""

import contextlib
import dataclasses
import time

from seqface_jax import checkpoints
from seqface_jax.checkpoints.metrics_writer import MetricsWriter
from seqface_jax.training import distributed
from seqface_jax.training.state import restore, training_tree

_LOGGED = ('loss', 'error_mm')  # Besides the terms of the loss.


class RunFolder:
    """The workdir of a run, for the loop; in processes but the first it writes nothing.

    A context manager; no other process may train in the workdir meanwhile.
    """

    def __init__(self, workdir, config, terms):
        """Writes config.json and opens the checkpoints.

        Args:
            workdir: made if it is not there.
            config: of the run.
            terms: names of the terms of its loss.

        Raises:
            UserError: the workdir is in use, cannot be written to, or is of another config.
        """
        self._workdir, self._terms = workdir, tuple(terms)
        self._is_first = distributed.is_first()
        with contextlib.ExitStack() as stack:
            self._store, self._curves = distributed.Silent(), distributed.Silent()
            if self._is_first:
                stack.enter_context(checkpoints.lock(workdir))
                checkpoints.write_config(workdir, config)
                self._store = stack.enter_context(contextlib.closing(checkpoints.Store(workdir)))
            self._open = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._open.close()

    def restore(self, state):
        """Returns the state and Progress of `latest`, or `state` and none; opens the curves."""
        state, progress = restore(self._store, state)
        self._started = time.monotonic() - progress.seconds
        if self._is_first:
            curves = MetricsWriter(self._workdir, progress.step, self._terms)
            self._curves = self._open.enter_context(contextlib.closing(curves))
        return state, progress

    def log(self, kind, progress, values):
        """Adds a row to the curves.

        Args:
            kind: 'step', 'training' or 'validation'.
            progress: Progress.
            values: dict; those that no curve is drawn of are left out.
        """
        names = {'learning_rate', 'grad_norm', *_LOGGED, *self._terms}
        self._curves.write(
            kind,
            step=progress.step,
            epoch=progress.epoch + (kind == 'step'),
            seconds=round(time.monotonic() - self._started, 3),
            **{name: value for name, value in values.items() if name in names},
        )

    def save_best(self, which, variables, progress, training, validation):
        """Saves a checkpoint with the two mean losses of its epoch."""
        meta = {'training_loss': training['loss'], 'validation_loss': validation['loss']}
        meta |= {'step': progress.step, 'epoch': progress.epoch}
        self._store.save(which, variables, meta)

    def save_latest(self, state, progress):
        """Saves all that the run needs to go on; it says what is best, so it comes after."""
        self._store.wait()
        progress.seconds = time.monotonic() - self._started
        self._store.save(
            'latest',
            state.variables(averaged=False),
            dataclasses.asdict(progress),
            training=training_tree(state),
        )
