"""What a Reconstructor remembers of a person's photos, and what one photo shows."""

import enum
from typing import Any, NamedTuple

import numpy as np

from seqface_jax.errors import UserError


class State(NamedTuple):
    """All that is remembered of the photos so far; its size does not grow.

    Attributes:
        network: the recurrent state, one person; None before the first photo.
        detection: face_detection.DetectedFace or sighting.Sighting of the last photo that was used,
            or None.
        num_frames: photos used so far.
    """

    network: Any
    detection: Any
    num_frames: int


class Rejection(enum.Enum):
    """Why a photo is not used; the value says it to a person."""

    NO_FACE = 'no face found'
    NO_POSE = 'no pose of a face fits'
    DOUBTFUL = 'too little of a face to be sure of'
    BLURRED = 'blurred'
    UNSURE = 'unsure who it is'
    ABSENT = 'not seen on it'


class Observation(NamedTuple):
    """What a photo shows of one person, before the network sees it.

    Attributes:
        detection: face_detection.DetectedFace or sighting.Sighting; None if there is none.
        frame: [S, S, 3] uint8 RGB, what the network would see, S its image size; or None.
        sharpness: in [0, 1], see photos.sharpness; 0 without a face.
        rejection: a Rejection, or None if the photo can be used.
        outcome: what the flagship would make of the photo, which `update` takes over; else None.
        doubt: str, who else it may be; of photos of several people.
    """

    detection: Any
    frame: Any
    sharpness: float
    rejection: Any
    outcome: Any = None
    doubt: str = ''

    @property
    def reason(self):
        """A few words: how the face was found, or why the photo is not used."""
        if self.rejection is None:
            return self.detection.found_by
        if self.rejection is Rejection.BLURRED:
            return f'{self.rejection.value} (sharpness {self.sharpness:.2f})'
        if self.rejection is Rejection.DOUBTFUL:
            return f'{self.rejection.value} (confidence {self.outcome.confidence:.2f})'
        return self.rejection.value + (f': {self.doubt}' if self.doubt else '')


def check_photo(photo):
    """Returns a photo as an array.

    Raises:
        UserError: it is not uint8 RGB [H, W, 3].
    """
    photo = np.asarray(photo)
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise UserError(f'a photo must be uint8 RGB [H, W, 3], got {photo.dtype} {photo.shape}')
    return photo
