"""The template that scans are registered to: the mean embedded face, cut to the face region."""

import functools

import numpy as np

from data_prep.scans import cleaning
from data_prep.scans.scan import Scan
from data_prep.synthetic.embedded_face import face_model

_RADIUS_MM = 100.0  # Around the nose tip: no hair, little neck.


@functools.lru_cache(maxsize=1)
def template():
    """Returns the mean face in the canonical frame as a Scan, cut 100 mm around the nose tip.

    Ears, teeth, the inside of the mouth and the skin behind the eyeballs are left out: a scanner
    sees only the outside.
    """
    model = face_model()
    vertices = model.mean
    tip = vertices[model.landmarks['nose_tip']]
    near = np.linalg.norm(vertices - tip, axis=1) < _RADIUS_MM
    keep = near & model.outside & (vertices[:, 2] > 0.0)
    triangles = model.triangles[keep[model.triangles].all(axis=1)]
    return cleaning.compact(Scan(vertices.astype(np.float32), triangles), triangles)
