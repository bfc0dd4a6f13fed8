"""Where frames come from: a photo, a folder of photos, a video file or a camera; one at a time."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2

from seqface_jax.errors import UserError
from seqface_jax.photos import face_detection, photo_file

VIDEO_ENDINGS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv')
VIDEO_ENDINGS += ('.mjpg', '.mjpeg')  # Bare JPEG pictures one after the other.
_CUT_SHORT = 0.95  # Of the frames that a video announces; its count may be an estimate.


class Frame(NamedTuple):
    """One frame of a source.

    Attributes:
        name: path of the photo, or number of the frame, from 0.
        photo: [H, W, 3] uint8 RGB, upright; None if it cannot be read.
        problem: str, why it cannot be read; None if it can.
    """

    name: str
    photo: Any
    problem: Any = None


class Source(NamedTuple):
    """Frames to come.

    Attributes:
        kind: 'photos', 'video' or 'camera'.
        count: of the frames, in a video as it announces; None for a camera, which has no end.
        frames: iterator of Frame; only one is in memory. Closing it frees the file or camera.
    """

    kind: str
    count: int | None
    frames: Iterator[Frame]


def open_source(source):
    """Opens what a person named.

    Args:
        source: path of a photo, of a folder of photos (taken in order of their names) or of a
            video, or the number of a camera as str.

    Returns:
        A Source.

    Raises:
        UserError: there is no such file or camera, or no frame in it can be read.
    """
    if os.path.isdir(source):
        return _photos(_photos_of_folder(source))
    if os.path.exists(source):
        ending = os.path.splitext(source)[1].lower()
        return _video(source) if ending in VIDEO_ENDINGS else _photos([source])
    if source.isdecimal():
        return _camera(int(source))
    raise UserError(
        f'no such file or folder: {source}; give a photo, a folder of photos, a video, or the '
        'number of a camera, such as 0'
    )


def _photos_of_folder(folder):
    names = sorted(os.listdir(folder))
    paths = [os.path.join(folder, n) for n in names if n.lower().endswith(photo_file.ENDINGS)]
    if not paths:
        raise UserError(
            f'no photo in the folder {folder}: it needs files ending in '
            f'{", ".join(photo_file.ENDINGS)}'
        )
    return paths


def _photos(paths):
    def frames():
        for path in paths:
            try:
                yield Frame(path, face_detection.read_photo(path))
            except UserError as error:
                yield Frame(path, None, str(error))

    return Source('photos', len(paths), frames())


def _video(path):
    capture = cv2.VideoCapture(path)  # FFmpeg turns frames upright as the file says.
    is_open, first = capture.read() if capture.isOpened() else (False, None)
    if not is_open:
        capture.release()
        raise UserError(
            f'cannot read the video {path}: it is damaged, or of a codec that OpenCV lacks; '
            '`python -m seqface_jax.doctor` tells which work, ffmpeg converts others'
        )
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    count = announced if announced > 0 else None
    return Source('video', count, _read_on(capture, first, count))


def _camera(number):
    capture = cv2.VideoCapture(number)
    is_open, first = capture.read() if capture.isOpened() else (False, None)
    if not is_open:
        capture.release()
        raise UserError(
            f'no camera {number}: connect it, close what uses it, or give another number; '
            '`python -m seqface_jax.doctor` lists those it finds'
        )
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # A slow machine skips frames and stays live.
    return Source('camera', None, _read_on(capture, first, None))


def _read_on(capture, image, count):
    try:
        number, is_read = 0, True
        while is_read:
            yield Frame(str(number), cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            number += 1
            is_read, image = capture.read()
        if count and number < _CUT_SHORT * count:
            yield Frame(str(number), None, f'the video breaks off here, of {count} frames')
    finally:
        capture.release()
