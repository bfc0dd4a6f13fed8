"""Evaluates runs: `python run_eval.py --workdir=runs/A[,runs/B...]`; see --help."""

import os
import sys

from absl import app, flags, logging

from seqface_jax import command_line, errors, extras

_WORKDIR = flags.DEFINE_list('workdir', None, 'Runs to evaluate, on the same records.')
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
command_line.require(workdir='RUN, the folder of a trained run')


@errors.exit_on_user_error
def main(argv):
    """Evaluates the runs and prints the table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    extras.require('train')
    import cv2

    from seqface_jax import evaluate

    cv2.setNumThreads(1)  # The readers of records are threads already.
    options = evaluate.Options(
        frames=_numbers(_FRAMES.value),
        splits=_SPLITS.value,
        checkpoints=_checkpoints(_CHECKPOINTS.value),
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


def _numbers(values):
    if values is None:
        return None
    try:
        return tuple(int(value) for value in values)
    except ValueError as error:
        raise errors.UserError(f'--frames takes whole numbers, such as 1,2,4: {error}') from error


def _checkpoints(values):
    from seqface_jax import checkpoints

    for value in values or ():
        if value not in checkpoints.WHICH:
            raise errors.UserError(
                f"there is no checkpoint '{value}': choose of {checkpoints.WHICH}"
            )
    return values


if __name__ == '__main__':
    app.run(main, flags_parser=command_line.parse)
