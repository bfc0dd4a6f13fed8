"""The band that the flagship states around a face, as people are told of it.

Nine of ten coordinates of the true face shall lie in it, once it is laid over the answer rigidly:
data_prep/package_files/calibrate.py widens the stated deviations until they do on made-up people.
Photos do not tell the size of a head, so the doubt of it is part of the band.
"""

import numpy as np

_DEVIATIONS = 1.645  # On each side; they hold 90 % of a Gaussian.
_MIDDLE_MM = 80.0  # Around the nose tip: the part of a face that is scored too.


def half_widths_mm(confidence):
    """Returns the half width [V] mm of the 90 % band of each vertex, along any one direction.

    Args:
        confidence: [V] in (0, 1], 1 / (1 + root mean square distance from the truth in mm).
    """
    distance = 1 / np.clip(np.asarray(confidence, np.float64), 1e-6, 1) - 1
    return _DEVIATIONS * distance / np.sqrt(3)


def half_width_mm(vertices, confidence):
    """Returns the mean half width, mm, over the vertices within 80 mm of the nose tip.

    Beyond, on neck and scalp, photos show hair and clothes, and the band is several times as wide.

    Args:
        vertices: [V, 3] mm, canonical frame; the foremost one is the nose tip.
        confidence: as of `half_widths_mm`.
    """
    vertices = np.asarray(vertices)
    from_tip = np.linalg.norm(vertices - vertices[vertices[:, 2].argmax()], axis=1)
    return float(half_widths_mm(confidence)[from_tip < _MIDDLE_MM].mean())
