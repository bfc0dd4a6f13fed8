"""Scores runs on MICC Florence as the field does: by protocol, and for each of its videos.

python -m seqface_jax.florence --workdir=runs/A[,runs/B...] --data_dir=DATA

DATA/florence are the records that `python -m data_prep florence` wrote; --data_name scores on
others by the same protocols. Writes florence.md and florence_per_subject.csv into
<first run>/eval/, runs/pretrained/eval/ for the run of the package, and prints the table. A
setting is a sequence of the records: of Florence Indoor-Cooperative, PTZ-Indoor and PTZ-Outdoor.
All runs are shown the same frames; the mesh of the flagship is cast to a position map.
"""

import os
import sys

from absl import app, flags, logging

from seqface_jax import errors
from seqface_jax.commands import command_line


def evaluate(workdirs, data_dir, data_name='florence', *, names=None, frames=(1, 8), seed=0):
    """Scores runs, and the mean face that the first of them knows of its training split.

    Args:
        workdirs: list of runs.
        data_dir, data_name: the records; their test split is scored on.
        names: of protocols.NAMES; None: all.
        frames: numbers of frames of one setting to show.
        seed: of the draw of the frames, which is the same for every run.

    Returns:
        list of florence_scores.Score, rows after rows, subjects in order.

    Raises:
        UserError: a run, a checkpoint, the records or a protocol are not there.
    """
    from seqface_jax.evaluation import florence_scores, protocols

    names = tuple(names or protocols.NAMES)
    for name in names:
        errors.check_choice(name, protocols.NAMES, 'protocol')
    frames = tuple(sorted(set(frames)))
    if not frames or frames[0] < 1:
        raise errors.UserError('the numbers of frames must be at least 1')
    return florence_scores.score(_load(workdirs, data_dir, data_name, seed), names, frames)


def _load(workdirs, data_dir, data_name, seed):
    """Returns a list of florence_scores.ScoredRun."""
    from seqface_jax.evaluate import EvaluationOptions
    from seqface_jax.evaluation import florence_scores, runs
    from seqface_jax.reconstruction import map_answers

    means = {}

    def load_flagship(workdir, checkpoint, says_frames):
        reconstructor = map_answers.restore(workdir, checkpoint)
        means[workdir] = map_answers.answer_of(reconstructor.mean_face()).position_map
        return map_answers.make_step(reconstructor, says_frames=says_frames)

    options = EvaluationOptions(
        checkpoints=(florence_scores.CHECKPOINT,), data_dir=data_dir, data_name=data_name
    )
    loaded = runs.load(workdirs, options, load_flagship)
    return [
        florence_scores.ScoredRun(run, means.get(workdir), seed) for workdir, run in loaded.items()
    ]


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_list('workdir', None, 'Runs to score; the table goes to the first, into eval/.')
    flags.DEFINE_string('data_dir', None, 'Where data_prep wrote the records.')
    flags.DEFINE_string('data_name', 'florence', 'Name of the records.')
    flags.DEFINE_list('protocol', None, 'thesis, crop_95mm, both_directions, interocular; or all.')
    flags.DEFINE_list('frames', ['1', '8'], 'Numbers of frames of a setting to show.')


@errors.exit_on_user_error
def main(argv):
    """Scores the runs and prints both tables."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    from seqface_jax.evaluate import output_folder
    from seqface_jax.evaluation import florence_scores

    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    values = flags.FLAGS
    if not all(count.isdecimal() for count in values.frames):
        raise errors.UserError('--frames takes whole numbers, such as 1,8')
    scores = evaluate(
        values.workdir,
        values.data_dir,
        values.data_name,
        names=values.protocol,
        frames=[int(count) for count in values.frames],
    )
    text = florence_scores.table(scores)
    folder = output_folder(values.workdir[0])
    with errors.writing_to(folder):
        os.makedirs(folder, exist_ok=True)
    for ending, content in (('.md', text), ('_per_subject.csv', florence_scores.csv_text(scores))):
        path = os.path.join(folder, values.data_name + ending)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(content)
    sys.stdout.write(text)


if __name__ == '__main__':
    define_flags()
    command_line.require(
        workdir='RUN, the folder of a trained run', data_dir='FOLDER of the prepared data'
    )
    app.run(main, flags_parser=command_line.parse)
