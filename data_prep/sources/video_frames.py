"""A subject's video as photos: up to MAX_FRAMES of its frames, spread evenly over all of it."""

import os

import cv2

from seqface_jax.errors import UserError
from seqface_jax.photos import video

ENDINGS = video.VIDEO_ENDINGS
MAX_FRAMES = 100  # Of a video of any length: its neighbours show the same face again.


def is_video(path):
    """Returns whether a file is a video, by its name."""
    return os.path.splitext(path)[1].lower() in ENDINGS


def read(path):
    """Yields (number, photo) of the frames that are taken; photo [H, W, 3] uint8 RGB.

    The frames are counted first, by decoding: what raw streams such as .mjpg announce is a guess.

    Raises:
        UserError: no frame of it can be read.
    """
    count = sum(1 for _ in _grabbed(path))
    if not count:
        raise UserError(
            f'{path} is not a readable video (damaged, or of a codec that OpenCV lacks)'
        )
    stride = -(-count // MAX_FRAMES)
    for number, capture in enumerate(_grabbed(path)):
        if number % stride == 0:
            is_read, image = capture.retrieve()
            if is_read:
                yield number, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _grabbed(path):
    """Yields the open video, once for every frame, which waits to be retrieved."""
    capture = cv2.VideoCapture(path)
    try:
        while capture.isOpened() and capture.grab():
            yield capture
    finally:
        capture.release()
