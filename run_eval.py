"""Evaluates runs: `python run_eval.py --workdir=runs/A[,runs/B...]`; see --help.

--real=FOLDER scores them on photos and scans of real people, --now=FOLDER on the NoW challenge's
validation people, without --workdir the run of the package.
"""

import functools
import os
import sys

from absl import app, flags, logging

from seqface_jax import errors
from seqface_jax.commands import command_line, extras

_WORKDIR = flags.DEFINE_list(
    'workdir',
    None,
    'Runs to evaluate, on the same records. A run of the flagship learned from none: name some by '
    "--data_dir and --data_name or in the run's config.eval, or put a run of another system first.",
)
_OUTPUT = flags.DEFINE_string(
    'output',
    None,
    'Folder for the tables, which replace those of an earlier evaluation there; eval/ of the first '
    "run if left out, or of a folder in runs/ if that is the package's.",
)
_FRAMES = flags.DEFINE_list('frames', None, 'Numbers of frames; config.eval if left out.')
_SPLITS = flags.DEFINE_list('splits', None, 'Splits to evaluate: train, validation, test.')
_CHECKPOINTS = flags.DEFINE_list(
    'checkpoints', None, 'Checkpoints to evaluate: best_training, best_validation, latest.'
)
_SUBJECTS = flags.DEFINE_integer(
    'subjects', None, 'At most so many of each split, evenly over their ids; 0: all.'
)
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Records other than those of the first run.')
_DATA_NAME = flags.DEFINE_string('data_name', None, 'Name of these records.')
_PERMUTATIONS = flags.DEFINE_integer(
    'permutations', 0, 'Orders of the same frames to measure the order spread over; 0: not.'
)
_REAL = flags.DEFINE_string('real', None, 'Folder of people to score on: ID/photos/* + a scan.')
_NOW = flags.DEFINE_string('now', None, 'Folder of the NoW challenge to score on: validation.')


@errors.exit_on_user_error
def main(argv):
    """Evaluates the runs and prints the table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    if _REAL.value or _NOW.value:
        return _score_on_scans()
    if _WORKDIR.value is None:
        raise errors.UserError(
            '--workdir is missing: give --workdir=RUN, the folder of a trained run; --help tells '
            'more'
        )
    extras.require('train')
    import cv2

    from seqface_jax import evaluate

    cv2.setNumThreads(1)  # The readers of records are threads already.
    options = evaluate.EvaluationOptions(
        frames=_numbers(_FRAMES.value),
        splits=_SPLITS.value,
        checkpoints=_CHECKPOINTS.value,
        max_subjects=_SUBJECTS.value,
        data_dir=_DATA_DIR.value,
        data_name=_DATA_NAME.value,
        output=_OUTPUT.value,
        permutations=_PERMUTATIONS.value,
    )
    evaluate.evaluate(_WORKDIR.value, options)
    folder = evaluate.output_folder(_WORKDIR.value[0], _OUTPUT.value)
    with open(os.path.join(folder, 'table.md'), encoding='utf-8') as file:
        sys.stdout.write(file.read())
    sys.stderr.write(f'wrote {folder}\n')


def _score_on_scans():
    """Scores runs on scans of real people, through what a user's photos go through."""
    extras.require('train')
    from seqface_jax import evaluate
    from seqface_jax.commands import compilation_cache

    compilation_cache.turn_on()
    workdirs = _WORKDIR.value or [None]
    folder = evaluate.output_folder(workdirs[0], _OUTPUT.value)
    options = {name: value for name, value in [('frames', _numbers(_FRAMES.value))] if value}
    if _CHECKPOINTS.value:
        options['checkpoint'] = _CHECKPOINTS.value[0]
    for given, score in ((_REAL.value, _score_on_people), (_NOW.value, _score_on_now)):
        if given:
            sys.stdout.write(score(given, workdirs, folder, options))
    sys.stderr.write(f'wrote {folder}\n')


def _score_on_people(given, workdirs, folder, options):
    from data_prep import scanned_people
    from seqface_jax import evaluate

    people = [
        functools.partial(scanned_people.read, path) for path in scanned_people.find(given).values()
    ]
    return evaluate.score_real_people(workdirs, people, folder, **options)


def _score_on_now(given, workdirs, folder, options):
    from data_prep import now_files
    from seqface_jax import evaluate

    people = [functools.partial(now_files.read, own) for own in now_files.find(given)]
    return evaluate.score_now_challenge(workdirs, people, folder, **options)


def _numbers(values):
    if values is None:
        return None
    try:
        return tuple(int(value) for value in values)
    except ValueError as error:
        raise errors.UserError(f'--frames takes whole numbers, such as 1,2,4: {error}') from error


if __name__ == '__main__':
    app.run(main, flags_parser=command_line.parse)
