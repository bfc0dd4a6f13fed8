"""Writes photographs to try the demo on: `python -m seqface_jax.samples --output=FOLDER`."""

import sys

from absl import app, flags

from seqface_jax import errors, samples
from seqface_jax.commands import command_line


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('output', None, 'Folder for the photographs, a folder per person.')
    command_line.require(output='FOLDER to write')


@errors.exit_on_user_error
def main(argv):
    """Writes the sample photographs into --output."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    sys.stdout.write('\n'.join(samples.write(flags.FLAGS.output)) + '\n')


if __name__ == '__main__':
    define_flags()
    app.run(main, flags_parser=command_line.parse)
