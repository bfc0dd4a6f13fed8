"""What the loop, the evaluation and the stream ask of a network, and what it says of itself."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from seqface_jax.geometry import map_grid
from seqface_jax.models import fields

# What a network looks at before an answer, and the most frames of a person that it can use.
MAX_FRAMES = {'frame': 1, 'front': 1, 'pair': 2, 'sequence': None}
# The constant by which a calibrated network multiplies the variances that it states, [].
VARIANCE_SCALE = 'variance_scale'
GIVEN = ('image_size', 'scan_unroll', 'axis_name')  # Fields that the program sets, not the config.


class SequenceModel(nn.Module, kw_only=True):
    """A network that answers after every frame of a sequence, of any length.

    A subclass writes `_run`, `initial_state` and, where it has constants of its own,
    `make_constants`.

    Attributes:
        READS: 'sequence', any number of frames; 'pair', a frontal frame and one from the side;
            'front', a frontal frame; 'frame', any frame by itself.
        image_size: side of the frames, in pixels.
        scan_unroll: frames per turn of the loop over time; 0: as suits the machine.
        axis_name: of the devices that share one batch, or None; for training under `pmap`.
    """

    READS = 'sequence'

    image_size: int
    scan_unroll: int = 0
    axis_name: str | None = None

    def __call__(self, frames, *, train, last_only=False):
        """Returns the Prediction of every frame, or of the last one only.

        Args:
            frames: [B, T, H, W, 3] float32, normalised as the config says.
            train: whether to train: batch statistics, dropout (rng stream 'dropout').
            last_only: answer after the last frame only; T of the prediction is 1.
        """
        _, prediction = self._run(None, frames, train=train, last_only=last_only)
        return prediction

    def step(self, state, frame):
        """Takes one more frame [B, H, W, 3]; returns the new state and a Prediction without T."""
        state, prediction = self._run(state, frame[:, None], train=False, last_only=False)
        return state, jax.tree.map(lambda leaf: leaf[:, 0], prediction)

    def initial_state(self, batch):
        """Returns the state before the first frame; empty for a network without memory."""
        del batch
        return {}

    @classmethod
    def check_fields(cls, values):
        """Checks the fields of a config; raises ModelConfigError."""
        fields.check(cls, [name for name in values if name not in GIVEN], 'model', GIVEN)

    @staticmethod
    def make_constants(values, table, sample_frames):
        """Computes the collection 'constants' from the subjects of the training split.

        Args:
            values: the fields of the config.
            table: dict of stacked arrays; position_map [N, 128, 128, 3] mm and mask
                [N, 128, 128] are read.
            sample_frames: as of `models.constants`.

        Returns:
            mean_map [128, 128, 3] mm, and mean_mask [128, 128], the share of subjects that have
            a pixel.
        """
        del values, sample_frames
        return mean_face(table)

    def mean_face(self):
        """Returns the constants mean_map and mean_mask of `make_constants`."""
        return (
            self.constant('mean_map', (map_grid.SIZE, map_grid.SIZE, 3)),
            self.constant('mean_mask', (map_grid.SIZE, map_grid.SIZE)),
        )

    def constant(self, name, shape):
        """Returns a constant of the training data; ones until it is set."""
        if self.has_variable('constants', name):  # Several parts of a network may read it.
            return self.get_variable('constants', name)
        return self.variable('constants', name, jnp.ones, shape).value

    def _run(self, state, frames, *, train, last_only):
        """Goes through frames [B, T, H, W, 3]; returns the new state and the Prediction.

        Args:
            state: of `initial_state` or of the frames before, or None at the start.
            frames, train, last_only: as of `__call__`.
        """
        raise NotImplementedError


class FrameModel(SequenceModel, kw_only=True):
    """A network that looks at each frame by itself; a subclass writes `answer`."""

    READS = 'frame'

    def answer(self, frames, *, train):
        """Returns the Prediction of frames [N, H, W, 3], each array with the first axis N only."""
        raise NotImplementedError

    def _run(self, state, frames, *, train, last_only):
        del state
        if last_only:
            frames = frames[:, -1:]
        prediction = self.answer(frames.reshape(-1, *frames.shape[2:]), train=train)
        return {}, unfold(prediction, *frames.shape[:2])


def unfold(prediction, batch, num_frames):
    """Turns arrays [B * T, ...] of a Prediction into [B, T, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(batch, num_frames, *leaf.shape[1:]), prediction)


def mean_face(table):
    """Averages the maps of the training split's subjects and of their mirror images.

    Args:
        table: as of `SequenceModel.make_constants`.

    Returns:
        dict of mean_map and mean_mask.
    """
    maps, mask = map_grid.with_mirrored(table['position_map'], table['mask'])
    count = mask.sum(axis=0)[..., None]
    mean = (maps * mask[..., None]).sum(axis=0) / count.clip(1)
    mean = np.where(count > 0, mean, maps.mean(axis=0))
    return {'mean_map': mean, 'mean_mask': mask.mean(axis=0)}
