"""A subject's photos and videos -> square face crops as JPEG, and the list of what has no face."""

from typing import NamedTuple

import cv2
import numpy as np

from data_prep.sources import Skipped, video_frames
from seqface_jax.errors import UserError
from seqface_jax.photos import crops, face_detection, photo_file

JPEG_QUALITY = 95


class PhotoCrop(NamedTuple):
    """jpeg: bytes of the CROP_SIZE x CROP_SIZE RGB crop; box: [4] float32 photo pixels."""

    sequence: str
    index: int
    jpeg: bytes
    box: np.ndarray


def crop_photos(frames, *, in_time=True):
    """Cuts the face out of every photo, and of frames of every video.

    Args:
        frames: of one subject, sorted by sequence and index.
        in_time: see sources.Subject: a face is tracked within its sequence where the detectors
            fail. Else only within a video; single photos do not depend on each other.

    Returns:
        found: list of PhotoCrop, in the same order; those of a video have the frame's number as
            index;
        skipped: list of Skipped, one entry for each photo or video that is not used, or not whole.
    """
    detector = face_detection.FaceDetector()
    found, skipped = [], []
    previous, sequence = None, None
    for frame in frames:
        if frame.image_path is None:
            continue
        if frame.sequence != sequence or not in_time:
            previous, sequence = None, frame.sequence
        count, faceless, losses = 0, 0, []
        try:
            for index, photo in _photos(frame, losses.append):
                count += 1
                face = detector.find(photo, previous)
                if face is None:
                    faceless += 1
                    continue
                previous = face
                box = crops.crop_box(face.box)
                jpeg = encode_jpeg(crops.cut_out(photo, box))
                found.append(PhotoCrop(frame.sequence, index, jpeg, box))
        except (UserError, cv2.error, MemoryError) as error:
            skipped.append(Skipped.file('photo', frame.image_path, error))
        skipped += [Skipped('photo', frame.image_path, why) for why in losses]
        if faceless:
            place = 'it' if count == 1 else f'{faceless} of its {count} frames'
            skipped.append(Skipped('photo', frame.image_path, f'no face was found in {place}'))
    return found, skipped


def _photos(frame, on_loss):
    """Yields (index, photo) of a frame's photo, or of the frames of its video."""
    if video_frames.is_video(frame.image_path):
        yield from video_frames.read(frame.image_path, on_loss)
    else:
        yield frame.index, photo_file.read(frame.image_path)


def encode_jpeg(image):
    """Returns the JPEG bytes of a [H, W, 3] uint8 RGB image."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def decode_gray(jpeg, size):
    """Returns the [size, size] uint8 gray picture of JPEG bytes."""
    gray = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(gray, (size, size), interpolation=cv2.INTER_AREA)
