"""Trains a system until its validation loss stops falling or its hours are over, in many sittings.

What a run has reached is read from its own curves, metrics.csv: a sitting that ends loses nothing.
"""

import csv
import os
from typing import NamedTuple

from seqface_jax.checkpoints import metrics_writer

PATIENCE = 6  # Epochs without a lower validation loss after which a system no longer improves.
_CURVE = ('system', 'epoch', 'step', 'hours', 'training_loss', 'validation_loss')
_CURVE += ('training_error_mm', 'validation_error_mm')


class State(NamedTuple):
    """How far a run is.

    Attributes:
        steps, epochs: int, until the end of the last whole epoch.
        hours: float, of training until then, over all sittings.
        best_loss: lowest validation loss, None before the first; best_epoch: where it was.
    """

    steps: int = 0
    epochs: int = 0
    hours: float = 0.0
    best_loss: float | None = None
    best_epoch: int = 0

    @property
    def improves(self):
        """Whether the validation loss has fallen within the last PATIENCE epochs."""
        return self.epochs - self.best_epoch < PATIENCE

    def sentence(self):
        """Says how far the run is."""
        if self.best_loss is None:
            return 'no epoch is over yet'
        end = 'still improving' if self.improves else 'no longer improving'
        return (
            f'{self.steps:,} steps in {self.epochs} epochs and {self.hours:.2f} h; lowest '
            f'validation loss {self.best_loss:.4g} after epoch {self.best_epoch}; {end}'
        )


def read_state(workdir):
    """Returns the State of a run, from its metrics.csv."""
    state = State()
    for row in _rows(workdir, 'validation'):
        loss, epoch = float(row['loss']), int(row['epoch'])
        state = state._replace(
            steps=int(row['step']), epochs=epoch, hours=float(row['seconds']) / 3600
        )
        if state.best_loss is None or loss < state.best_loss:
            state = state._replace(best_loss=loss, best_epoch=epoch)
    return state


def train_until_done(config, workdir, hours, *, until_flat=True):
    """Trains a run, or goes on with it.

    Args:
        config: as of train.train_and_evaluate, whose own limits count too.
        workdir: of the run.
        hours: of training over all sittings, after which the epoch is the last; None: no limit.
        until_flat: ends too when the run no longer improves; else the config says when.

    Returns:
        the State at the end.
    """
    from seqface_jax import train

    def is_enough():
        state = read_state(workdir)
        is_flat = until_flat and not state.improves
        return is_flat or (hours is not None and state.hours >= hours)

    if not is_enough():
        train.train_and_evaluate(config, workdir, is_enough)
    return read_state(workdir)


def write_curves(path, workdirs):
    """Writes the curves of all runs as one CSV file, a row for each epoch.

    Args:
        path: of the file.
        workdirs: {name of the system: workdir}.
    """
    with open(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(_CURVE)
        for name, workdir in workdirs.items():
            training = {row['epoch']: row for row in _rows(workdir, 'training')}
            for row in _rows(workdir, 'validation'):
                own = training.get(row['epoch'], {})
                hours = f'{float(row["seconds"]) / 3600:.3f}'
                losses = own.get('loss'), row['loss'], own.get('error_mm'), row['error_mm']
                writer.writerow([name, row['epoch'], row['step'], hours, *losses])


def _rows(workdir, kind):
    path = os.path.join(workdir, 'metrics.csv')
    return [row for row in metrics_writer.read(path) if row['kind'] == kind]
