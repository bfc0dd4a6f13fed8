"""Photos to a face: `python run_demo.py --workdir=RUN --input=FOLDER --output=OUT`."""

import sys

from absl import app, flags, logging

from seqface_jax import errors

_WORKDIR = flags.DEFINE_string('workdir', None, 'The trained run.')
_INPUT = flags.DEFINE_string('input', None, 'A photo, or a folder of photos of one person.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder for face.ply, face.png and frames.csv.')
_CHECKPOINT = flags.DEFINE_string('checkpoint', 'best_validation', 'Or best_training, latest.')
flags.mark_flags_as_required(['workdir', 'input', 'output'])


@errors.exit_on_user_error
def main(argv):
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    from seqface_jax import demo

    for line in demo.run(_WORKDIR.value, _INPUT.value, _OUTPUT.value, _CHECKPOINT.value):
        sys.stdout.write(line + '\n')


if __name__ == '__main__':
    app.run(main)
