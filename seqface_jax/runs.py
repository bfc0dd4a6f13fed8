"""The runs of an evaluation: their models and checkpoints, and the records they are scored on."""

import os
from typing import NamedTuple

import jax

from seqface_jax import checkpoints, input_pipeline, reconstruct
from seqface_jax.errors import UserError

SELECTED_ON_TEST = 'selected on test'
TRAINED_ON_TEST = 'trained on test'


class Run(NamedTuple):
    name: str
    config: object
    dataset: input_pipeline.Dataset
    models: dict  # Checkpoint -> (step, variables).
    foreign: bool  # Whether it was trained on other records than it is scored on.

    @property
    def main_checkpoint(self):
        """The checkpoint that a person uses: best_validation where it is evaluated."""
        return 'best_validation' if 'best_validation' in self.models else next(iter(self.models))

    def selection(self, checkpoint, split, subject_ids):
        """Says whether the run has seen the subjects that it is scored on as unseen."""
        if split != 'test' or self.foreign:
            return None
        data = self.config.data
        if set(self.dataset.split(data.train_split).subject_ids) & set(subject_ids):
            return TRAINED_ON_TEST
        validation = set(self.dataset.split(data.validation_split).subject_ids)
        if checkpoint == 'best_validation' and validation & set(subject_ids):
            return SELECTED_ON_TEST
        return None


def load(workdirs, options):
    """Returns {workdir: Run}; checks that all are to be scored on the same records."""
    names = [os.path.basename(os.path.normpath(workdir)) for workdir in workdirs]
    if len(set(names)) < len(names):
        names = [os.path.normpath(workdir) for workdir in workdirs]
    runs, records = {}, None
    for workdir, name in zip(workdirs, names, strict=True):
        config = checkpoints.read_config(workdir)
        trained_on = (os.path.abspath(config.data.dir), config.data.name)
        config.data.dir = options.data_dir or config.data.dir
        config.data.name = options.data_name or config.data.name
        own = (os.path.abspath(config.data.dir), config.data.name)
        if records not in (None, own):
            raise UserError(
                f'{workdir} was trained on {config.data.name} in {config.data.dir}, not on the '
                'records of the first run: name the records with --data_dir and --data_name'
            )
        records = own
        which = options.checkpoints or config.eval.checkpoints
        models, step = {}, None
        for checkpoint in which:
            _, model, variables = checkpoints.load(workdir, checkpoint)
            step = step or reconstruct.make_step(config, model)  # Compiled once per run.
            models[checkpoint] = (step, jax.device_put(variables))
        dataset = input_pipeline.open_dataset(config.data)
        runs[workdir] = Run(name, config, dataset, models, trained_on != own)
    return runs
