"""What a person uses: photos go in one by one, the face comes out after each."""

import dataclasses
import functools
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax import checkpoints, export, face_detection, input_pipeline, surface
from seqface_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Face:
    """A reconstructed face.

    Attributes:
        vertices: [V, 3] float32 mm, canonical frame (+x to the subject's left, +y up, +z out).
        triangles: [F, 3] int32, counter-clockwise from outside.
        confidence: [V] float32 in (0, 1], 1 / (1 + the network's standard deviation in mm); all
            ones from a network that does not say how sure it is.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    confidence: np.ndarray

    def save(self, path):
        """Writes the mesh as .ply, .obj or .npz."""
        export.save(path, self.vertices, self.triangles, self.confidence)


class State(NamedTuple):
    """All that is remembered of the photos so far; its size does not grow.

    Attributes:
        network: the recurrent state, one person.
        detection: face_detection.Face of the last photo with a face, or None.
        num_frames: photos used so far.
    """

    network: Any
    detection: Any
    num_frames: int


def make_step(config, model):
    """Returns the compiled step of a model, shared by evaluation and streaming.

    Returns:
        A function of variables, state (None to begin) and frames [B, H, W, 3] uint8 RGB, that
        returns the next state and a Prediction without the time axis.
    """

    @jax.jit
    def step(variables, state, frames):
        frames = input_pipeline.normalize_frames(frames, config.data.normalization)
        return model.apply(variables, state, frames, method='step')

    def begin_or_step(variables, state, frames):
        if state is None:
            state = model.apply(variables, len(frames), method='initial_state')
        return step(variables, state, jnp.asarray(frames))

    return begin_or_step


class Reconstructor:
    """Turns photos of one person into that person's neutral face, better with every photo."""

    def __init__(self, config, model, variables):
        self.config = config
        self._variables = jax.device_put(variables)
        self._step = make_step(config, model)
        self._ordered = is_ordered(config)
        self._detector = face_detection.FaceDetector()

    @classmethod
    def restore(cls, workdir, which='best_validation'):
        """Reads a run's checkpoint and its config.

        Raises:
            UserError: the workdir holds no such checkpoint.
        """
        return cls(*checkpoints.load(workdir, which))

    def initial_state(self):
        """Returns the State before the first photo."""
        return State(None, None, 0)

    def update(self, state, photo):
        """Takes one more photo into account.

        Args:
            state: what `initial_state` or the last `update` returned.
            photo: [H, W, 3] uint8 RGB, any size.

        Returns:
            state, as it was if the photo shows no face; and the Face, or None if there is none.

        Raises:
            UserError: the photo is not uint8 RGB.
        """
        detection = self.find_face(photo, state.detection)
        if detection is None:
            return state, None
        frame = self.crop(photo, detection)
        network, prediction = self._step(self._variables, state.network, frame[None])
        face = self._face(
            np.asarray(prediction.position_map[0]),
            None if prediction.log_variance is None else np.asarray(prediction.log_variance[0]),
        )
        return State(network, detection, state.num_frames + 1), face

    def find_face(self, photo, previous=None):
        """Returns the face_detection.Face of a photo, or None."""
        photo = np.asarray(photo)
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
            raise UserError(f'a photo must be uint8 RGB [H, W, 3], got {photo.dtype} {photo.shape}')
        return self._detector.find(photo, previous)

    def crop(self, photo, detection):
        """Cuts out what the network sees, as the records were cut; [size, size, 3] uint8."""
        crop = face_detection.cut_out(photo, face_detection.crop_box(detection.box))
        size = (self.config.data.image_size,) * 2
        if crop.shape[:2] == size:
            return crop
        return cv2.resize(crop, size, interpolation=cv2.INTER_AREA)

    @functools.cached_property
    def _mask(self):
        return face_mask(self._variables.get('constants', {}))

    def _face(self, position_map, log_variance):
        mask = self._mask if self._ordered else None
        vertices, triangles = surface.from_prediction(
            position_map, ordered=self._ordered, mask=mask
        )
        confidence = np.ones(len(vertices), np.float32)
        if log_variance is not None:
            if mask is not None:
                log_variance = log_variance[surface.resize_mask(mask, len(log_variance))]
            confidence = 1 / (1 + np.exp(0.5 * log_variance.reshape(-1)))
        return Face(vertices.astype(np.float32), triangles, confidence.astype(np.float32))


def is_ordered(config):
    """Returns whether the model answers with ordered position maps, not the thesis's points."""
    return config.data.target == 'position_map'


def face_mask(constants):
    """Returns the map pixels that are face, [S, S] bool, from a model's constants; else None."""
    if 'mean_map' not in constants:
        return None
    return surface.crop_mask(np.asarray(constants['mean_map']))
