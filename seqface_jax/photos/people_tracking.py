"""Who is who on the photos of several people: told by where the faces are."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from seqface_jax.photos import face_detection

# Correlation of two small gray pictures of a face, from which one who comes back to where somebody
# was last seen is taken for them.
MIN_RESEMBLANCE = 0.5


class People(NamedTuple):
    """Everybody seen so far.

    Attributes:
        states: reconstruct.State by person; people are numbered from 0 in order of appearance.
        detections: face_detection.DetectedFace by person, of those on the last photo.
    """

    states: Mapping[int, Any]
    detections: Mapping[int, face_detection.DetectedFace]


def find(detector, group, photo):
    """Finds the faces on a photo, and whose they are.

    Args:
        detector: face_detection.FaceDetector.
        group: People.
        photo: [H, W, 3] uint8 RGB.

    Returns:
        dict of face_detection.DetectedFace by person, None for those of the last photo who are not
        on this one; numbers beyond those of `group` are new people.
    """
    present = sorted(group.detections)
    followed, new = detector.find_all(photo, [group.detections[person] for person in present])
    found = dict(zip(present, followed, strict=True))
    lost = {person: state.detection for person, state in group.states.items()}
    lost = {person: old for person, old in lost.items() if person not in group.detections}
    # Who was lost sight of on this photo may be among the new faces: moved far, or turned.
    lost |= {person: group.detections[person] for person in present if found[person] is None}
    number = max(group.states, default=-1) + 1
    for face in new:
        person = _recognize(face, lost)
        if person is None:
            person, number = number, number + 1
        lost.pop(person, None)
        found[person] = face
    return found


def _recognize(face, lost):
    """Returns the lost person whose place and looks a face has, or None."""
    best, best_overlap = None, face_detection.SAME_OVERLAP
    for person, old in lost.items():
        shared = float(face_detection.overlap(old.box[None], face.box)[0])
        if shared >= best_overlap and _resemblance(old.patch, face.patch) >= MIN_RESEMBLANCE:
            best, best_overlap = person, shared
    return best


def _resemblance(first, second):
    """Returns the correlation of two pictures [S, S] uint8, in [-1, 1]; 0 if one is flat."""
    first, second = (patch.astype(np.float64) - patch.mean() for patch in (first, second))
    size = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / size) if size > 0 else 0.0
