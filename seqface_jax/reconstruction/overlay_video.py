"""Overlays as a video: H.264, which browsers play, where an encoder is installed."""

import contextlib
import os
import subprocess

import cv2
import numpy as np

from seqface_jax import files
from seqface_jax.errors import UserError

LONGEST_PX = 960  # Longest side of overlay.mp4.
USUAL_RATE = 30.0  # Frames per second where the source does not say it.
_RATES = (1.0, 240.0)  # What a file says beyond these is no frame rate.
_QUALITY = ('-crf', '23', '-preset', 'veryfast', '-movflags', '+faststart')  # Options of x264.


def plausible_rate(frames_per_second):
    """Returns a source's frames per second, or USUAL_RATE for None and for what is none."""
    if frames_per_second is None or not _RATES[0] <= frames_per_second <= _RATES[1]:
        return USUAL_RATE
    return float(frames_per_second)


class VideoWriter:
    """Writes pictures as an .mp4.

    With the package imageio-ffmpeg, or an ffmpeg that it finds on this machine, H.264. Else MPEG-4
    part 2 by OpenCV, whose wheels hold no encoder of H.264: VLC, QuickTime and Windows play it.

    A context; the file takes its place when the context is left without an error.
    """

    def __init__(self, path, frames_per_second):
        """Opens nothing yet; the first picture says how large the video is."""
        self._path, self._rate = path, frames_per_second
        # Whole, for FFmpeg takes what stands before a colon for a protocol.
        self._draft = os.path.abspath(os.path.splitext(path)[0] + '.draft.mp4')
        self._writer = self._size = None

    def __enter__(self):
        return self

    @property
    def note(self):
        """What to tell a person of the video; None if it plays everywhere, or there is none."""
        if not isinstance(self._writer, _Mpeg4):
            return None
        return (
            f'{self._path} is MPEG-4 part 2, which VLC plays and browsers do not: for H.264 '
            "pip install 'seqface-jax[h264]' (imageio-ffmpeg)"
        )

    def add(self, picture):
        """Appends [H, W, 3] uint8 RGB; one of another shape than the first is fitted to it.

        Raises:
            UserError: the video cannot be written.
        """
        if self._writer is None:
            height, width = picture.shape[:2]
            self._size = width - width % 2, height - height % 2  # The codecs want even sides.
            kind = _Mpeg4 if _encoder() is None else _H264
            self._writer = kind(self._draft, self._path, self._size, self._rate)
        self._writer.add(np.ascontiguousarray(_fit_into(picture, self._size)))

    def __exit__(self, kind, error, trace):
        if self._writer is None:
            return
        try:
            if error is None:
                self._writer.close()
                os.replace(self._draft, self._path)
            else:  # Which is told already.
                with contextlib.suppress(UserError):
                    self._writer.close()
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._draft)


class _H264:
    """Pipes pictures to ffmpeg, whose process group is its own: no Ctrl-C reaches it."""

    def __init__(self, draft, path, size, rate):
        self._path = path
        command = [_encoder(), '-y', '-v', 'error', '-f', 'rawvideo', '-pix_fmt', 'rgb24']
        command += ['-s', f'{size[0]}x{size[1]}', '-r', f'{rate:.6f}', '-i', '-']
        command += ['-c:v', 'libx264', '-pix_fmt', 'yuv420p', *_QUALITY, draft]
        # Not by imageio_ffmpeg.write_frames, which forks with all threads of JAX.
        pipes = {'stdin': subprocess.PIPE, 'stderr': subprocess.PIPE}
        self._ffmpeg = subprocess.Popen(command, **pipes, process_group=0)

    def add(self, picture):
        try:
            self._ffmpeg.stdin.write(picture)
        except OSError:
            self.close()

    def close(self):
        _, said = self._ffmpeg.communicate()
        if self._ffmpeg.returncode:
            reason = (said.decode(errors='replace').strip().splitlines() or ['it says nothing'])[-1]
            raise UserError(
                f'cannot write the video {self._path}: ffmpeg stopped ({reason}): free disk '
                'space, or remove the package imageio-ffmpeg to write it without'
            )


class _Mpeg4:
    def __init__(self, draft, path, size, rate):
        code = cv2.VideoWriter_fourcc(*'mp4v')
        self._writer = cv2.VideoWriter(files.for_opencv(draft), code, rate, size)
        if not self._writer.isOpened():
            raise UserError(
                f'cannot write the video {path}: this OpenCV has no MPEG-4 encoder; use the wheel '
                'of opencv-python-headless from PyPI'
            )

    def add(self, picture):
        self._writer.write(np.ascontiguousarray(picture[..., ::-1]))

    def close(self):
        self._writer.release()


def _encoder():
    """Returns the path of ffmpeg, or None where there is none."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):  # The latter: a platform whose wheel brings none.
        return None


def _fit_into(picture, size):
    """Returns a picture of `size` (width, height) that shows all of another, bars beside it."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    zoom = min(size[0] / width, size[1] / height)
    inner = max(1, min(size[0], round(width * zoom))), max(1, min(size[1], round(height * zoom)))
    fitted = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    small = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    fitted[top : top + inner[1], left : left + inner[0]] = small
    return fitted
