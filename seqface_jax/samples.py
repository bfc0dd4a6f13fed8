"""Photographs to try the demo on: `python -m seqface_jax.samples --output=FOLDER`.

One folder per person: the astronaut Eileen Collins as scikit-image ships her (NASA, public domain),
and the made-up people of sample_photos/, a folder each.
"""

import os
import shutil
import sys

import cv2
from absl import app, flags

from seqface_jax import errors
from seqface_jax.commands import command_line

FOLDER = os.path.join(os.path.dirname(__file__), 'sample_photos')


def write(output):
    """Writes the photographs.

    Args:
        output: folder, made if missing; gets a folder for each person.

    Returns:
        list of str, the folders, the real person's first.

    Raises:
        UserError: the folder cannot be written to.
    """
    from skimage import data

    with errors.writing_to(output):
        folders = [os.path.join(output, 'astronaut')]
        os.makedirs(folders[0], exist_ok=True)
        picture = cv2.imencode('.png', data.astronaut()[..., ::-1])[1].tobytes()
        with open(os.path.join(folders[0], 'astronaut.png'), 'wb') as file:
            file.write(picture)
        for name in sorted(os.listdir(FOLDER)):
            folders.append(os.path.join(output, name))
            shutil.copytree(os.path.join(FOLDER, name), folders[-1], dirs_exist_ok=True)
    return folders


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('output', None, 'Folder for the photographs, a folder per person.')
    command_line.require(output='FOLDER to write')


@errors.exit_on_user_error
def main(argv):
    """Writes the sample photographs into --output."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    sys.stdout.write('\n'.join(write(flags.FLAGS.output)) + '\n')


if __name__ == '__main__':
    define_flags()
    app.run(main, flags_parser=command_line.parse)
