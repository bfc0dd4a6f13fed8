"""OpenCV's cascades, which say where a face may be; no other module opens them.

OpenCV has none from 5 on.
"""

import cv2

from seqface_jax.errors import UserError

FRONTAL, FRONTAL_ALT2 = 'haarcascade_frontalface_default.xml', 'haarcascade_frontalface_alt2.xml'
PROFILE = 'haarcascade_profileface.xml'
_ADVICE = "install it with: pip install 'opencv-python-headless>=4.11,<5'"


def are_there():
    """Returns whether this OpenCV has cascades."""
    return hasattr(cv2, 'CascadeClassifier')


def load(name):
    """Returns a cv2.CascadeClassifier.

    Args:
        name: FRONTAL, FRONTAL_ALT2 or PROFILE.

    Raises:
        UserError: this OpenCV has no cascades, or not this one.
    """
    if not are_there():
        raise UserError(f'OpenCV {cv2.__version__} has no CascadeClassifier; {_ADVICE}')
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + name)
    if cascade.empty():
        raise UserError(f'the detector {cv2.data.haarcascades}{name} is missing; {_ADVICE}')
    return cascade
