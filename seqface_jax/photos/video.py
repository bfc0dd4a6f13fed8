"""Where frames come from: a photo, a folder of photos, a video file or a camera; one at a time."""

import collections
import os
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any, NamedTuple

import cv2

from seqface_jax import files
from seqface_jax.errors import UserError
from seqface_jax.photos import file_kinds, own_files, photo_file, video_geometry

# Pixels of the longer side of a video's frames; larger ones are shrunk before anything looks.
MAX_VIDEO_SIDE = 1280
_MAX_RATE, _USUAL_RATE = 1000, 30.0  # Frames a second: more is no rate; where none is said.
# A video is whole if this share of the announced frames is read; the count may be an estimate.
_CUT_SHORT = 0.95
_FEW = 3  # Files that a message names.


class Frame(NamedTuple):
    """One frame of a source, or a file of a folder that holds none.

    Attributes:
        name: path of the photo as it can be written, or number of the frame, from 1.
        photo: [H, W, 3] uint8 RGB, upright; None if it cannot be read.
        problem: str, why it cannot be read; None if it can.
        reason: str, a few words that are the same for all files with this problem.
        scale: pixels of `photo` per pixel of the frame as the file shows it.
        seconds: when it was taken, from the first one on; None of a photo.
    """

    name: str
    photo: Any
    problem: Any = None
    reason: str = photo_file.UNREADABLE
    scale: float = 1.0
    seconds: float | None = None

    @property
    def is_photo(self):
        """Whether it is meant as a picture of the person, readable or not."""
        return self.reason not in (photo_file.NO_PHOTO, photo_file.OWN)


class FrameSource(NamedTuple):
    """Frames to come.

    Attributes:
        kind: 'photos', 'video' or 'camera'.
        count: of the frames, in a video as it announces, of a folder without the files that are
            no photos; None for a camera, which has no end.
        frames: iterator of Frame; at most two are in memory. Closing it frees the file or camera.
        rate: frames a second of a video, on average; None where nothing says it.
    """

    kind: str
    count: int | None
    frames: Iterator[Frame]
    rate: float | None = None


def open_source(source):
    """Opens what a person named.

    Args:
        source: path of a photo, of a folder of photos (in order of their names, but they are no
            sequence) or of a video, or the number of a camera as str.

    Returns:
        A FrameSource. Of a folder every file comes, those that are no photos with the reason.

    Raises:
        UserError: there is no such file or camera, or no frame in it can be read.
    """
    if os.path.isdir(source):
        return _folder(source)
    if os.path.exists(source):
        try:
            kind = file_kinds.of_path(source)
        except OSError as error:
            raise UserError(f'cannot read {source}: {error.strerror or error}') from error
        return _video(source) if kind.group == file_kinds.VIDEO else _one_photo(source)
    if source.isdecimal():
        return _camera(int(source))
    raise UserError(
        f'no such file or folder: {source}; give a photo, a folder of photos, a video, or the '
        'number of a camera, such as 0'
    )


def _folder(folder):
    """Returns the FrameSource of a folder; UserError if there is no photo in it."""
    try:
        paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    except OSError as error:
        raise UserError(f'cannot read the folder {folder}: {error.strerror or error}') from error
    found = collections.defaultdict(list)
    for path in paths:
        if own_files.is_own(path):
            found['own'].append(path)
        elif os.path.isdir(path):
            found['folder'].append(path)
        else:
            found[_group(path)].append(path)
    if not found[file_kinds.PHOTO]:
        raise UserError(_no_photos(folder, found))
    return _photos(paths, len(found[file_kinds.PHOTO]))


def _group(path):
    """Returns the group of a file, as of FileKind; what cannot be opened may be a photo."""
    try:
        group = file_kinds.of_path(path).group
    except OSError:
        return file_kinds.PHOTO
    is_damaged = group == file_kinds.OTHER and file_kinds.promises_photo(path)
    return file_kinds.PHOTO if is_damaged else group


def _no_photos(folder, found):
    """Says what a folder without photos holds, and what to give in its place."""
    folders, videos = found['folder'], found[file_kinds.VIDEO]
    if len(videos) == 1:
        return f'the folder {folder} holds no photo but a video: give it, --input={videos[0]}'
    if videos:
        return (
            f'the folder {folder} holds no photo but {len(videos)} videos: give one at a time, '
            f'such as --input={videos[0]}; --state goes on from the one before'
        )
    if len(folders) == 1:
        return f'the folder {folder} holds no photo but a folder: give it, --input={folders[0]}'
    if folders:
        return (
            f'{folder} holds {len(folders)} folders and no photo: a face is made of one person at '
            f"a time, so give one person's folder, such as --input={folders[0]}, or add "
            '--people=folders: each is a person'
        )
    if found['own']:
        return f'the folder {folder} holds no photo, only files that this program wrote'
    others = found[file_kinds.OTHER]
    names = ', '.join(f'{os.path.basename(p)}: {_name(p)}' for p in others[:_FEW])
    more = ', ...' if len(others) > _FEW else ''
    inside = f'{len(others)} other files ({names}{more})' if others else 'nothing'
    return (
        f'no photo in the folder {folder}, which holds {inside}: photos of these kinds are read: '
        f'{", ".join(file_kinds.PHOTO_KINDS)}'
    )


def _name(path):
    return file_kinds.of_path(path).name


def _photos(paths, count):
    def frames():
        for path in paths:
            yield _photo(path)

    return FrameSource('photos', count, _ahead(frames()))


def _one_photo(path):
    """Returns the FrameSource of a file; UserError if it is no photo."""
    frame = _photo(path)
    if not frame.is_photo:
        named = frame.name in frame.problem
        raise UserError(frame.problem if named else f'{frame.name} is {frame.problem}')
    return FrameSource('photos', 1, (frame for frame in [frame]))


def _photo(path):
    """Returns the Frame of a file, whatever it is."""
    name = files.printable(path)
    if os.path.isdir(path):
        return Frame(name, None, 'a folder: what is in it is not looked at', photo_file.NO_PHOTO)
    if own_files.is_own(path):
        return Frame(name, None, 'written by this program, not a photo', photo_file.OWN)
    try:
        return Frame(name, photo_file.read(path))
    except photo_file.PhotoError as error:
        return Frame(name, None, files.printable(error), error.reason)


def _video(path):
    capture = cv2.VideoCapture(files.for_opencv(path))
    try:
        geometry = video_geometry.read(path, capture)
        is_open, first = capture.read() if capture.isOpened() else (False, None)
        if not is_open:
            raise UserError(
                f'cannot read the video {path}: it is damaged, or of a codec that OpenCV lacks; '
                '`python -m seqface_jax.doctor` tells which work, ffmpeg converts others'
            )
    except UserError:
        capture.release()
        raise
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    count = announced if announced > 0 else None
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if 0 < rate < _MAX_RATE else None
    frames = _read_on(capture, first, count, geometry, _times(capture, rate))
    return FrameSource('video', count, _ahead(frames), rate)


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
    times = iter(time.monotonic, None)
    frames = _read_on(capture, first, None, video_geometry.UPRIGHT, times)
    return FrameSource('camera', None, frames)


def _times(capture, rate):
    """Yields when the frame that was just read is shown, s, ever later.

    Phones film at a rate that changes; what has no times has them from its rate.
    """
    last = None
    while True:
        told = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        is_later = last is None or told > last
        last = told if is_later else last + 1 / (rate or _USUAL_RATE)
        yield last


def _read_on(capture, image, count, geometry, times):
    try:
        number, is_read, first = 0, True, None  # Frames are named from 1 on, as they are counted.
        while is_read:
            now = next(times)
            first = now if first is None else first
            photo, scale = geometry.apply(image, MAX_VIDEO_SIDE)
            number += 1
            yield Frame(str(number), photo, scale=scale, seconds=now - first)
            is_read, image = capture.read()
        if count and number < _CUT_SHORT * count:
            yield Frame(str(number + 1), None, f'the video breaks off here, of {count} frames')
    finally:
        capture.release()


def _ahead(frames):
    """Yields what a generator yields; a thread makes the next one meanwhile.

    To decode a large photo or frame and shrink it takes as long as to find the face on a small one.
    """
    end = object()
    try:
        with futures.ThreadPoolExecutor(1) as pool:
            coming = pool.submit(next, frames, end)
            while (frame := coming.result()) is not end:
                coming = pool.submit(next, frames, end)
                yield frame
    finally:
        frames.close()
