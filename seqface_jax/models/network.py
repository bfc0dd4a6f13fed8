"""A network of a config as pure functions from frames to faces."""

import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax.geometry import surface
from seqface_jax.models.normalization import normalize_frames


def make_step(config, model):
    """Returns the compiled step of a model, shared by evaluation and streaming.

    Returns:
        A function of variables, state (None to begin) and frames [B, H, W, 3] uint8 RGB, that
        returns the next state and a Prediction without the time axis.
    """

    @jax.jit
    def step(variables, state, frames):
        frames = normalize_frames(frames, config.data.normalization)
        return model.apply(variables, state, frames, method='step')

    def begin_or_step(variables, state, frames):
        if state is None:
            state = model.apply(variables, len(frames), method='initial_state')
        return step(variables, state, jnp.asarray(frames))

    return begin_or_step


class FaceNetwork:
    """A network as pure functions from frames of one person to the arrays of a Face.

    Attributes:
        model: the Flax module.
        triangles: [F, 3] int32, shared by all faces; None for the thesis's points, which are
            joined anew for every face.
        mask: [S, S] bool, the position map's pixels that are the vertices; None likewise.
    """

    def __init__(self, config, model, variables):
        """Takes what `checkpoints.load` returns; of the variables, the constants only."""
        self.model = model
        self._normalization = config.data.normalization
        self.triangles = self.mask = self._pixels = None
        if is_ordered(config):
            side = _map_side(model, variables, config.data.image_size)
            mask = face_mask(variables.get('constants', {}))
            mask = np.ones((side, side), bool) if mask is None else surface.resize_mask(mask, side)
            _, self.triangles = surface.from_prediction(
                np.zeros((side, side, 3)), ordered=True, mask=mask
            )
            self.mask, self._pixels = mask, np.flatnonzero(mask)

    def initial_state(self, variables):
        """Returns the recurrent state of one person before the first frame."""
        return self.model.apply(variables, 1, method='initial_state')

    def step(self, variables, state, frames):
        """Takes one more frame [1, S, S, 3] uint8 RGB into account.

        Returns:
            The next state, vertices [V, 3] mm, confidence [V] and frame_vertices [V, 3] mm or
            None, as of Face.
        """
        frames = normalize_frames(frames, self._normalization)
        state, prediction = self.model.apply(variables, state, frames, method='step')
        return state, *self._vertices(prediction)

    def read_state(self, variables, state):
        """Returns the same but for the state, of a state without a frame."""
        return self._vertices(self.model.apply(variables, state, method='read_state'))

    def triangles_of(self, vertices):
        """Returns the triangles [F, 3] int32 of one face's vertices [V, 3]."""
        if self.triangles is not None:
            return self.triangles
        side = round(len(vertices) ** 0.5)
        return surface.from_prediction(vertices.reshape(side, side, 3), ordered=False)[1]

    def _vertices(self, prediction):
        pixels = slice(None) if self._pixels is None else self._pixels
        vertices = prediction.position_map.reshape(-1, 3)[pixels]
        confidence = jnp.ones(len(vertices))
        if prediction.log_variance is not None:
            confidence = 1 / (1 + jnp.exp(0.5 * prediction.log_variance.reshape(-1)[pixels]))
        if prediction.frame_map is None:
            return vertices, confidence, None
        return vertices, confidence, prediction.frame_map.reshape(-1, 3)[pixels]


def _map_side(model, variables, image_size):
    """Returns S of the position maps [S, S, 3] that a model answers with."""

    def first_answer(frames):
        state = model.apply(variables, len(frames), method='initial_state')
        return model.apply(variables, state, frames, method='step')[1].position_map

    frames = jax.ShapeDtypeStruct((1, image_size, image_size, 3), np.float32)
    return jax.eval_shape(first_answer, frames).shape[1]


def is_ordered(config):
    """Returns whether the model answers with ordered position maps, not the thesis's points."""
    return config.data.target == 'position_map'


def face_mask(constants):
    """Returns the map pixels that are face, [S, S] bool, from a model's constants; else None."""
    if 'mean_map' not in constants:
        return None
    return surface.crop_mask(np.asarray(constants['mean_map']))
