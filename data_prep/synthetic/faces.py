"""The kinds of face that synthetic people can be made of.

All kinds answer alike: neutral(identity), express(neutral, weights, blink), parts with their
materials, landmarks by vertex index, the scalp's grid. embedded_face.FaceModel is the embedded one;
mesh_face.MeshFace serves published models: a further one is a function like ict_facekit.read
that returns its FaceData, and one line in `_READERS`.
"""

import functools

from data_prep.synthetic import ict_facekit
from data_prep.synthetic.embedded_face import face_model
from data_prep.synthetic.mesh_face import MeshFace
from seqface_jax.errors import UserError

EMBEDDED = 'embedded'
_READERS = {'ict': ict_facekit.read}
NAMES = (EMBEDDED, *_READERS)


@functools.lru_cache(maxsize=1)
def open_face(name, folder=None):
    """Returns a kind of face; a model that is read from files is read once per process.

    Args:
        name: one of NAMES.
        folder: of the model's files; None for the embedded face.

    Raises:
        UserError: an unknown name, a folder too many or too few, or files that are no model.
    """
    if name not in NAMES:
        raise UserError(f'unknown face {name!r}; known are: {", ".join(NAMES)}')
    if name == EMBEDDED:
        if folder is not None:
            raise UserError('--face_dir is for faces that are read from files, such as --face=ict')
        return face_model()
    if folder is None:
        raise UserError(f'--face={name} needs --face_dir=FOLDER with the files of that model')
    return MeshFace(_READERS[name](folder))
