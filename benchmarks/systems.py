"""Trains every system on the same records and prints them side by side.

python -m benchmarks.systems --data_dir=DATA [--data_name=bu4dfe] [--out_dir=runs/systems]
    [--scale=small] [--hours=2] [--held_out=NAME] [--real=PEOPLE] [--beside=RUN]

Each system trains until its --hours are used up or its config ends it; at --scale=cores and in the
check of capacity, until its validation loss no longer falls. A stopped sitting goes on where it
was; with more --hours what had used its own up goes on. --scale=cores is for the people of
data_prep.person_records: docs/RESULTS.md has the commands. Other records must have
been prepared with --frame_maps, of heads that turn (synthetic_raw --turn_deg=60).

Parts, in this order: capacity, whether each network fits eight people (OUT/capacity.md); train, one
system after the other (OUT/curves.csv); score, those with an epoch or more (OUT/systems.md).
"""

import dataclasses
import os
import sys

from absl import app, flags, logging

from benchmarks import system_table, system_training
from benchmarks.system_configs import SCALES, SYSTEMS, system_config
from seqface_jax import errors, files

PARTS = ('capacity', 'train', 'score')


def train(names, make_config, folder, hours, *, until_flat=True):
    """Trains systems one after the other, until each is done, and says how far each is.

    Args:
        names: of the systems.
        make_config: function of a name.
        folder: of the runs; curves.csv goes there too.
        hours: of training of each over all sittings; None: no limit.
        until_flat: as of system_training.train_until_done.
    """
    workdirs = {name: os.path.join(folder, name) for name in names}
    for name, workdir in workdirs.items():
        sys.stderr.write(f'{name}:\n')
        config = make_config(name)
        state = system_training.train_until_done(config, workdir, hours, until_flat=until_flat)
        sys.stderr.write(f'{name}: {state.sentence()}\n')
        system_training.write_curves(os.path.join(folder, 'curves.csv'), workdirs)


def score(names, folder, options, *, held_out=None, real=None, beside=()):
    """Returns the table of the systems that have been trained for an epoch or more.

    Args:
        names: of the systems; folder: of their runs.
        options: evaluate.EvaluationOptions of the records that they learned from.
        held_out: name of further records in the same folder, or None.
        real: folder of real people, or None.
        beside: workdirs of further runs.

    Raises:
        UserError: there is no run to score, or the people cannot be read.
    """
    from benchmarks import system_scores

    trained = {name: os.path.join(folder, name) for name in names}
    states = {name: system_training.read_state(trained[name]) for name in names}
    workdirs = {name: trained[name] for name in names if states[name].epochs}
    beside = map(os.path.normpath, beside)
    workdirs |= {os.path.basename(workdir): workdir for workdir in beside}
    if not workdirs:
        raise errors.UserError(f'no system in {folder} has been trained for an epoch yet')
    people = {}
    for name in (options.data_name, held_out):
        if name is not None:
            output = os.path.join(folder, 'eval', name)
            own = dataclasses.replace(
                options, data_name=name, output=output, baselines_name=options.data_name
            )
            people[name] = system_scores.score_records(workdirs, own)
    if real is not None:
        output = os.path.join(folder, 'eval', 'real')
        people['real'] = system_scores.score_real(workdirs, real, output, options.frames)
    costs = {}
    for name, workdir in workdirs.items():
        state = states.get(name)
        told = (None, None) if state is None else (state.sentence(), state.hours)
        costs[name] = (system_scores.num_parameters(workdir), *told)
    return system_table.markdown(people, costs)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('data_dir', None, 'Where data_prep wrote the records.')
    flags.DEFINE_string('data_name', 'bu4dfe', 'Name of the records.')
    flags.DEFINE_string('out_dir', 'runs/systems', 'One folder per system, and the tables.')
    flags.DEFINE_enum('scale', 'small', SCALES, 'How large.')
    flags.DEFINE_float(
        'hours', None, 'Training of a system ends with the epoch that passes them, all sittings.'
    )
    flags.DEFINE_list('systems', list(SYSTEMS), 'Only these.')
    flags.DEFINE_list('parts', ['train', 'score'], f'What to do, of {", ".join(PARTS)}.')
    flags.DEFINE_list('frames', ['1', '2', '8'], 'Numbers of frames to score at.')
    flags.DEFINE_integer('subjects', 0, 'At most so many of test; 0: all.')
    flags.DEFINE_string('held_out', None, 'Records in --data_dir of a kind not trained on.')
    flags.DEFINE_string('real', None, 'Folder of real people, ID/photos + scan.')
    flags.DEFINE_list('beside', [], 'Workdirs of further runs to score.')


@errors.exit_on_user_error
def main(argv):
    """Does the parts that are asked for and prints the tables."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    from benchmarks import system_capacity
    from seqface_jax import evaluate
    from seqface_jax.commands import compilation_cache

    values = flags.FLAGS
    check_flags(values)
    compilation_cache.turn_on()  # A stopped run, started again, compiles nothing twice.

    def make_config(name):
        config = system_config(name, values.scale)
        config.data.update(dir=values.data_dir, name=values.data_name)
        return config

    options = evaluate.EvaluationOptions(
        frames=tuple(int(count) for count in values.frames),
        splits=('test',),
        checkpoints=('best_validation',),
        max_subjects=values.subjects,
        data_dir=values.data_dir,
        data_name=values.data_name,
    )
    if 'capacity' in values.parts:
        folder = os.path.join(values.out_dir, 'capacity')
        hours = values.hours and system_capacity.SHARE * values.hours
        train(
            values.systems,
            lambda name: system_capacity.capacity_config(make_config(name)),
            folder,
            hours,
        )
        of_few = system_capacity.options(options)
        _write(values.out_dir, 'capacity.md', score(values.systems, folder, of_few))
    if 'train' in values.parts:
        until_flat = values.scale == 'cores'
        train(values.systems, make_config, values.out_dir, values.hours, until_flat=until_flat)
    if 'score' in values.parts:
        further = {'held_out': values.held_out, 'real': values.real, 'beside': values.beside}
        text = score(values.systems, values.out_dir, options, **further)
        _write(values.out_dir, 'systems.md', text)


def check_flags(values):
    """Raises UserError for a flag that cannot be used, before hours are spent on training."""
    from data_prep import scanned_people
    from seqface_jax import checkpoints
    from seqface_jax.data import input_pipeline

    for name in values.systems:
        errors.check_choice(name, SYSTEMS, 'system')
    for part in values.parts:
        errors.check_choice(part, PARTS, 'part')
    if values.hours is not None and not values.hours > 0:
        raise errors.UserError(f'--hours must be more than 0, got {values.hours}')
    if not values.frames or not all(count.isdecimal() for count in values.frames):
        raise errors.UserError('--frames takes whole numbers, such as 1,2,8')
    names = list(values.systems)
    for workdir in values.beside:
        checkpoints.read_config(workdir)
        names.append(os.path.basename(os.path.normpath(workdir)))
        if names[-1] in names[:-1]:
            raise errors.UserError(f'{workdir} is called like another run: rename the folder')
    if values.held_out is not None:
        held_out = checkpoints.record_options(values.data_dir, values.held_out)
        input_pipeline.open_dataset(held_out)
    if values.real is not None:
        scanned_people.find(values.real)


def _write(folder, name, text):
    files.write_text(os.path.join(folder, name), text)
    sys.stdout.write(text)


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['data_dir'])
    app.run(main)
