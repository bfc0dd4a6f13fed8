"""The flagship as the tables of records are made: frames in, position maps out.

A frame goes in as a photo of a user does. The face that comes out is cast to the position map,
which is what the other networks answer with.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from seqface_jax.geometry import map_casting
from seqface_jax.models import Prediction
from seqface_jax.reconstruction import flagship
from seqface_jax.reconstruction.point_reconstructor import PointReconstructor


class StreamedPerson(NamedTuple):
    """What was made of one person's frames so far.

    Attributes:
        state: photo_observation.State.
        answer: Prediction about the person, without `unused`.
        frames, unused: number of frames, and of those that gave no face.
    """

    state: Any
    answer: Prediction
    frames: int
    unused: int


def restore(workdir, checkpoint):
    """Returns a flagship's PointReconstructor for records, whose frames are cut out of photos."""
    lens_of = flagship.crop_lens  # What lies around the face was cut off.
    return PointReconstructor.restore(workdir, checkpoint, lens_of=lens_of)


def make_step(reconstructor, *, says_frames):
    """Returns a step of streaming.stream: every person's next frame changes what is known of them.

    Args:
        reconstructor: point_reconstructor.PointReconstructor.
        says_frames: whether the faces of the frames, with their expressions, are cast too.

    Returns:
        A function of variables (not used), state (None to begin) and frames [B, H, W, 3] uint8
        RGB, that returns the next state and a Prediction. Before the first frame with a face the
        answer is the mean face.
    """
    mean = answer_of(reconstructor.mean_face(), says_frames=says_frames)
    first = StreamedPerson(reconstructor.initial_state(), mean, 0, 0)

    def advance(shown, photo):
        state, face = reconstructor.update(shown.state, photo)
        if face is None:
            return shown._replace(frames=shown.frames + 1, unused=shown.unused + 1)
        answer = answer_of(face, says_frames=says_frames)
        return StreamedPerson(state, answer, shown.frames + 1, shown.unused)

    def step(variables, people, frames):
        del variables
        people = [first] * len(frames) if people is None else people
        people = [advance(*own) for own in zip(people, frames, strict=True)]
        return people, _stacked(people)

    return step


def answer_of(face, *, says_frames=False):
    """Returns the Prediction that stands for a Face of the flagship, without a batch axis.

    The position map and the logarithm of the variance of each coordinate, the third of what the
    flagship states of a vertex; with `says_frames` also the map of the face with the expression of
    the last frame, the neutral one where there is none.
    """
    hits = map_casting.cast(face.vertices, face.triangles)
    deviation_mm = hits.interpolate(1 / face.confidence.astype(np.float64) - 1)
    log_variance = np.float32(np.log(deviation_mm**2 / 3))
    neutral = hits.position_map(face.vertices)
    if not says_frames:
        return Prediction(neutral, log_variance)
    if face.frame_vertices is None:
        return Prediction(neutral, log_variance, frame_map=neutral)
    of_frame = map_casting.cast(face.frame_vertices, face.triangles)
    frame_map = of_frame.position_map(face.frame_vertices)
    return Prediction(neutral, log_variance, frame_map=frame_map)


def _stacked(people):
    """Returns the Prediction about all people, [B, ...]."""
    answer = jax.tree.map(lambda *leaves: np.stack(leaves), *(own.answer for own in people))
    unused = np.array([own.unused / own.frames for own in people], np.float32)
    return answer._replace(unused=unused)
