"""The runs of an evaluation: their models and checkpoints, and the records they are scored on."""

import os
from typing import NamedTuple

import jax

from seqface_jax import checkpoints, models
from seqface_jax.data import input_pipeline, record_reader
from seqface_jax.errors import UserError
from seqface_jax.models.network import make_step
from seqface_jax.photos import crops

SELECTED_ON_TEST = 'selected on test'
TRAINED_ON_TEST = 'trained on test'
PACKAGED = 'packaged run'  # Its name in tables.


class Run(NamedTuple):
    """A run, with the records that it is scored on.

    Attributes:
        name: the run's, as in the tables.
        config: its config; `data` is that of the records scored on.
        dataset: input_pipeline.Dataset, these records.
        models: dict of checkpoint to (step, variables).
        trained_on: the `data` section of the records that it learned from; None: it is the
            flagship's, which learned from pictures of other people.
    """

    name: str
    config: object
    dataset: input_pipeline.Dataset
    models: dict  # Checkpoint -> (step, variables).
    trained_on: object

    @property
    def foreign(self):
        """Whether it was trained on other records than it is scored on."""
        return self.trained_on is None or _place(self.trained_on) != _place(self.config.data)

    @property
    def reads(self):
        """What it looks at, a key of models.MAX_FRAMES; the flagship remembers, not its network."""
        return 'sequence' if self.trained_on is None else models.reads(self.config.model)

    @property
    def main_checkpoint(self):
        """The checkpoint that a person uses: best_validation where it is evaluated."""
        return 'best_validation' if 'best_validation' in self.models else next(iter(self.models))

    def training_people(self, beside=None):
        """Returns the input_pipeline.Split that baselines are made of.

        That of the records scored on; where they are test only, as MICC Florence, the run's own.

        Args:
            beside: name of records in the same folder that stand in for the run's own where it
                learned from pictures, or None.

        Raises:
            UserError: there are no such people.
        """
        expression, data = self.config.data.train_split, self.config.data
        if not self.foreign or self.dataset.has(expression):
            return self.dataset.split(expression)
        if self.trained_on is None and beside is not None:
            others = checkpoints.record_options(data.dir, beside)
            return input_pipeline.open_dataset(others).split(expression)
        if self.trained_on is None:
            raise UserError(
                f'the records of {data.name} in {data.dir} hold nobody to train on, of whom the '
                f'baselines could be, and {self.name} learned from pictures: put a run that was '
                'trained on records first in --workdir'
            )
        try:
            return input_pipeline.open_dataset(self.trained_on).split(expression)
        except UserError as error:
            raise UserError(
                f'the records of {data.name} in {data.dir} hold nobody to train on, so the '
                f'baselines take the people that {self.name} was trained on, but {error}'
            ) from error

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


def names_of(workdirs):
    """Returns the names of runs in tables: of their folders, or the paths where two are alike.

    Args:
        workdirs: list; None among them is the run of the package.
    """
    paths = [PACKAGED if workdir is None else os.path.normpath(workdir) for workdir in workdirs]
    names = [os.path.basename(path) for path in paths]
    return paths if len(set(names)) < len(names) else names


def load(workdirs, options, load_flagship):
    """Returns {workdir: Run}; checks that all are to be scored on the same records.

    Args:
        workdirs: list of runs.
        options: evaluate.EvaluationOptions.
        load_flagship: function of the workdir and checkpoint of a run of the flagship, and whether
            the faces of its frames are asked for; returns its step, as of network.make_step.
    """
    runs, records = {}, None
    for workdir, name in zip(workdirs, names_of(workdirs), strict=True):
        config = checkpoints.read_config(workdir)
        is_flagship = config.model.name == checkpoints.FLAGSHIP
        # The faces of frames are compared with, and say what an image map can say at best.
        needs_maps = is_flagship or config.model.get('expression_size', 0) or config.data.frame_maps
        config.data, trained_on = _sections(workdir, config, options, records)
        if records is not None and _place(config.data) != _place(records):
            raise UserError(
                f'{workdir} was trained on {config.data.name} in {config.data.dir}, not on the '
                'records of the first run: name the records with --data_dir and --data_name'
            )
        records = config.data
        if needs_maps:
            config.data.frame_maps = record_reader.have_frame_maps(config.data)
        which = options.checkpoints or config.eval.checkpoints
        steps, step = {}, None
        for checkpoint in which:
            if is_flagship:
                steps[checkpoint] = load_flagship(workdir, checkpoint, config.data.frame_maps), {}
                continue
            _, model, variables = checkpoints.load_recurrent(workdir, checkpoint)
            step = step or make_step(config, model)  # Compiled once per run.
            steps[checkpoint] = (step, jax.device_put(variables))
        dataset = input_pipeline.open_dataset(config.data)
        runs[workdir] = Run(name, config, dataset, steps, trained_on)
    return runs


def _sections(workdir, config, options, records):
    """Returns the `data` sections of what a run is scored on, and of what it was trained on.

    Args:
        workdir, config: of the run.
        options: evaluate.EvaluationOptions.
        records: the `data` section of the runs before; None: this is the first one.

    Raises:
        UserError: a run of the flagship, which learned from no records, and nothing names any.
    """
    if config.model.name != checkpoints.FLAGSHIP:
        config.data.frame_maps = False  # Where they are not there, the rest is scored.
        trained_on = config.data.copy_and_resolve_references()
        config.data.dir = options.data_dir or config.data.dir
        config.data.name = options.data_name or config.data.name
        return config.data, trained_on
    place = options.data_dir or config.eval.data_dir, options.data_name or config.eval.data_name
    if not all(place) and records is not None:
        place = records.dir, records.name
    if not all(place):
        raise UserError(
            f'{workdir} is a run of the flagship, which learns from pictures: name the records of '
            'people to score it on with --data_dir and --data_name, or give --real=FOLDER'
        )
    data = checkpoints.record_options(*place)
    data.image_size = crops.CROP_SIZE  # As the records have them: the flagship cuts out its own.
    return data, None


def _place(data):
    return os.path.abspath(data.dir), data.name
