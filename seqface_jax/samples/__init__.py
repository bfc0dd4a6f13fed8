"""Photographs to try the demo on: `python -m seqface_jax.samples --output=FOLDER`.

One folder per person: the astronaut Eileen Collins as scikit-image ships her (NASA, public domain),
and the made-up people beside this file, a folder each.
"""

import os
import shutil

import cv2

from seqface_jax.errors import writing_to

FOLDER = os.path.dirname(__file__)


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

    with writing_to(output):
        folders = [os.path.join(output, 'astronaut')]
        os.makedirs(folders[0], exist_ok=True)
        picture = cv2.imencode('.png', data.astronaut()[..., ::-1])[1].tobytes()
        with open(os.path.join(folders[0], 'astronaut.png'), 'wb') as file:
            file.write(picture)
        for name in sorted(os.listdir(FOLDER)):
            if os.path.isdir(os.path.join(FOLDER, name)) and not name.startswith('_'):
                folders.append(os.path.join(output, name))
                shutil.copytree(os.path.join(FOLDER, name), folders[-1], dirs_exist_ok=True)
    return folders
