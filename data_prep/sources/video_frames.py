"""A subject's video as photos: up to MAX_FRAMES of its frames, spread evenly over all of it."""

import cv2

from seqface_jax import files
from seqface_jax.errors import UserError
from seqface_jax.photos import file_kinds, video_geometry

MAX_FRAMES = 100  # Most frames taken from a video: neighbours show the same face again.
# A video is whole if this share of the announced frames is read; the count may be an estimate.
_CUT_SHORT = 0.95


def is_video(path):
    """Returns whether a file is a video: by its content; by its name where that tells nothing."""
    try:
        group = file_kinds.of_path(path).group
    except OSError:
        group = file_kinds.OTHER
    is_damaged = group == file_kinds.OTHER and file_kinds.promises_video(path)
    return group == file_kinds.VIDEO or is_damaged


def read(path, on_loss=lambda sentence: None):
    """Yields (number, photo) of the frames that are taken; photo [H, W, 3] uint8 RGB.

    The frames are counted first, by decoding: what raw streams such as .mjpg announce is a guess.

    Args:
        path: of the video.
        on_loss: called with one sentence about frames that cannot be read.

    Raises:
        UserError: no frame of it can be read.
    """
    count, announced = 0, 0
    for capture in _grabbed(path):
        count += 1
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if not count:
        raise UserError(
            f'{path} is not a readable video (damaged, or of a codec that OpenCV lacks)'
        )
    if _has_index(path) and count < _CUT_SHORT * announced:
        on_loss(f'it breaks off after {count} of {announced} frames')
    stride, lost = -(-count // MAX_FRAMES), 0
    geometry = None
    for number, capture in enumerate(_grabbed(path)):
        geometry = geometry or video_geometry.read(path, capture)
        if number % stride == 0:
            is_read, image = capture.retrieve()
            if is_read:
                yield number, geometry.apply(image)[0]
            lost += not is_read
    if lost:
        on_loss(f'{lost} of its frames cannot be decoded')


def _has_index(path):
    """Returns whether a video says how many frames it has, as bare streams of pictures do not."""
    return file_kinds.of_path(path).name != 'Motion JPEG'


def _grabbed(path):
    """Yields the open video, once for every frame, which waits to be retrieved."""
    capture = cv2.VideoCapture(files.for_opencv(path))
    try:
        while capture.isOpened() and capture.grab():
            yield capture
    finally:
        capture.release()
