"""A stand-in for the flagship that answers at once: the grey of a photo tells a face's size."""

import numpy as np

from seqface_jax.geometry import surface
from seqface_jax.reconstruction.face import Face
from seqface_jax.reconstruction.photo_observation import State
from tests.helpers import bumpy_face

SIDE = 32
DEVIATION_MM = 3.0
_VERTICES, _TRIANGLES = surface.from_prediction(bumpy_face.position_map_of(0, SIDE), ordered=True)


class GreyReconstructor:
    """What map_answers needs of a PointReconstructor."""

    def initial_state(self):
        return State(None, None, 0)

    def mean_face(self):
        return _face(0.0, 0.0)

    def update(self, state, photo):
        """Averages the greys of the photos; one whose first pixel has an odd red is not used."""
        if photo[0, 0, 0] % 2:
            return state, None
        level = float(photo.mean())
        total = level + (state.network or 0.0)
        count = state.num_frames + 1
        return State(total, None, count), _face(total / count, level)


def _face(level, last):
    """Returns a face that is bigger by a thousandth for each level of grey."""
    scale, last_scale = 1 + level / 1000, 1 + last / 1000
    return Face(
        np.float32(scale * _VERTICES),
        _TRIANGLES,
        np.full(len(_VERTICES), 1 / (1 + DEVIATION_MM), np.float32),
        frame_vertices=np.float32(last_scale * _VERTICES) if last else None,
    )
