"""What a model says of a subject after n frames, as a surface in mm: what `scoring` is given.

Predictions are made by streaming, one compiled step per model: the answer after the n-th frame is
what a table's row of n frames reports, and the draw of n frames is the start of the draw of more.
A model that reads one frame, a pair or a fixed number of them fits too: its state is what it
remembers of the frames. One that answers with something else than a position map needs a case in
`to_answer`, and nothing else here or after.
"""

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from seqface_jax.errors import UserError
from seqface_jax.geometry import surface, voxels

BATCH_SIZE = 8  # Subjects per compiled step; the last batch is filled up to it.


class Answer(NamedTuple):
    """One answer about one subject, in the canonical frame.

    Attributes:
        vertices: [V, 3] mm, triangles: [F, 3]; the surface.
        position_map: [S, S, 3] mm if pixel k is the same place on every face, else None.
        log_variance: [S, S], log of the variance in mm^2 of each coordinate of position_map, or
            None where the model does not say how sure it is.
        voxels: models.Voxels of one subject, or None where the model gives none.
        frame_map: [S, S, 3] mm, the face with the expression of the last frame, pixel by pixel
            beside position_map, or None where the model gives none.
        unused: share of the frames in which no face was found that could be used, or None where
            the model takes every frame for one of a face.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    position_map: np.ndarray | None = None
    log_variance: np.ndarray | None = None
    voxels: Any = None
    frame_map: np.ndarray | None = None
    unused: float | None = None


class Condition(NamedTuple):
    """What makes a row: who answered, on whom, after how many frames."""

    model: str
    checkpoint: str | None
    split: str
    num_frames: int | None
    selection: str | None = None
    of: str | None = None  # The run that a row such as averaged_single_frames is made of.


class Answers(NamedTuple):
    """The answers of one condition about all subjects of a split.

    Attributes:
        condition: Condition.
        prediction: models.Prediction whose arrays have one row per subject.
        ordered: whether pixel k is the same place on every face.
        mask: [128, 128] bool, the pixels of an ordered map that are face.
        seconds: per subject, to predict; None for what looks at no frame.
        fewest_frames: that any subject showed: a subject may have fewer than the condition says.
        last_frames: [S], which of each subject's frames was shown last; None for what looks at no
            frame, or at none in particular.
    """

    condition: Condition
    prediction: Any
    ordered: bool
    mask: np.ndarray
    seconds: float | None
    fewest_frames: int | None = None
    last_frames: np.ndarray | None = None

    def of(self, index):
        """Returns the Answer about one subject."""
        own = jax.tree.map(lambda leaf: leaf[index], self.prediction)
        return to_answer(own, ordered=self.ordered, mask=self.mask)

    def is_finite(self):
        """Returns whether every number of every answer is finite."""
        return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(self.prediction))

    def require_finite(self):
        """Raises UserError where not every number is finite."""
        if not self.is_finite():
            raise UserError(
                f'{self.condition.checkpoint} of {self.condition.model} answers with numbers that '
                'are not finite: train it again with a lower optimizer.learning_rate'
            )


def to_answer(prediction, *, ordered, mask):
    """Turns one prediction into a surface in mm.

    Args:
        prediction: models.Prediction of one subject, without batch and time axes.
        ordered: whether pixel k is the same place on every face.
        mask: [128, 128] bool, the pixels of an ordered map that are face.
    """
    vertices, triangles = surface.from_prediction(
        prediction.position_map, ordered=ordered, mask=mask
    )
    if not ordered:
        return Answer(vertices, triangles)
    if prediction.voxels is not None:
        found = _iso_surface(prediction.voxels, mask)
        # Without a surface between inside and outside, what the rays found has to do.
        vertices, triangles = found if len(found[1]) else (vertices, triangles)
    return Answer(
        vertices,
        triangles,
        prediction.position_map,
        prediction.log_variance,
        prediction.voxels,
        prediction.frame_map,
        prediction.unused,
    )


def _iso_surface(cells, mask):
    """Returns vertices [V, 3] mm and triangles of models.Voxels, only what is face."""
    probability = 1 / (1 + np.exp(-np.asarray(cells.logits, np.float64)))
    found = voxels.iso_surface(probability, cells.corner_mm, cells.cell_mm, float(cells.level))
    return voxels.crop_to_mask(*found, mask)


class ShownFrames:
    """Frames of one subject in the order to show them; each is read when its turn comes.

    So memory does not grow with the number of frames, but for what data.cache_mib allows.
    """

    def __init__(self, split, index, drawn):
        """Takes an input_pipeline.Split, which of its subjects, and frame indices [T]."""
        self._split, self._index, self.drawn = split, index, np.asarray(drawn)

    def __len__(self):
        return len(self.drawn)

    def __getitem__(self, place):
        """Returns frame `place` of the order, [H, W, 3] uint8 RGB."""
        return self._split.frames(self._index, self.drawn[[place]])[0]

    def reordered(self, order):
        """Returns the same subject's frames in another order [T] of places; they may repeat."""
        return ShownFrames(self._split, self._index, self.drawn[order])


def draw_frames(sequences, count, *, seed):
    """Draws distinct frames of one subject, spread over its sequences.

    The sequences take turns in random order, each giving a random one of its frames left. A
    smaller count with the same seed gives the beginning of the same draw.

    Args:
        sequences: [F] str, the sequence of each frame.
        count: of frames; all F, if there are fewer.
        seed: int or sequence of int.

    Returns:
        [min(count, F)] int frame indices, in the order to show them.
    """
    rng = np.random.default_rng(seed)
    turn = np.empty(len(sequences), np.int64)
    for name in np.unique(sequences):
        own = np.flatnonzero(sequences == name)
        turn[own] = rng.permutation(len(own))
    order = np.lexsort([rng.permutation(len(sequences)), turn])
    return order[:count]


def draw_pair(order, yaw_deg, front_max_yaw_deg, side_min_yaw_deg):
    """Picks a frontal frame of one subject and one from the side.

    Args:
        order: [F] int, all frames of the subject in the order to look at them.
        yaw_deg: [F], how far each frame is turned, NaN where not known.
        front_max_yaw_deg, side_min_yaw_deg: as of input_pipeline.pair_plan. Where no frame is
            turned so little, or so far, the one that is turned least, or most, stands in.

    Returns:
        [2] int frame indices, the frontal one first.

    Raises:
        UserError: it is not known how far any frame is turned.
    """
    turned = np.abs(yaw_deg[order])
    if np.isnan(turned).all():
        raise UserError(
            'it is not known how far the heads are turned, so no pairs of views can be shown: '
            'prepare the records with --frame_maps'
        )
    fronts = np.flatnonzero(turned < front_max_yaw_deg)
    sides = np.flatnonzero(turned > side_min_yaw_deg)
    front = fronts[0] if len(fronts) else np.nanargmin(turned)
    side = sides[0] if len(sides) else np.nanargmax(turned)
    return order[[front, side]]


def usable_counts(counts, max_frames):
    """Returns the numbers of frames to show a model that can use at most max_frames (None: all).

    Larger numbers than it can use stand for as many as it can.
    """
    return tuple(sorted({min(count, max_frames or count) for count in counts}))


def stream(step, variables, frames, counts, *, single=False):
    """Streams frames through a model and keeps the answers after given numbers of frames.

    Args:
        step: what network.make_step returned.
        variables: of the model.
        frames: list of S uint8 arrays [T_s, H, W, 3], or ShownFrames; a subject with fewer frames
            than asked for answers after its last one.
        counts: increasing numbers of frames.
        single: show each frame to an empty state and average the answers.

    Returns:
        list of Prediction, one per count, of numpy arrays with S rows; and seconds per sequence
        [len(counts)], without the time to compile.
    """
    batches, seconds = [], np.zeros(len(counts))
    size = min(BATCH_SIZE, len(frames))
    for start in range(0, len(frames), size):
        batch = frames[start : start + size]
        # Filled up with the first subject again, so that one compilation serves all batches.
        filled = batch + [frames[0]] * (size - len(batch))
        predictions, batch_seconds = _stream_batch(step, variables, filled, counts, single)
        batches.append(_first(predictions, len(batch)))
        seconds += batch_seconds
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *batches)
    return joined, seconds / len(frames)


def _first(predictions, count):
    return jax.tree.map(lambda leaf: leaf[:count], predictions)


def _stream_batch(step, variables, frames, counts, single):
    lengths = np.array([len(own) for own in frames])
    step(variables, None, np.stack([own[0] for own in frames]))  # Compiles.
    kept, seconds, total, state = [None] * len(counts), np.zeros(len(counts)), 0.0, None
    current = None
    for place in range(min(counts[-1], lengths.max())):
        shown = np.stack([own[min(place, len(own) - 1)] for own in frames])
        begin = time.perf_counter()
        state, prediction = step(variables, None if single else state, shown)
        answer = jax.tree.map(np.asarray, jax.block_until_ready(prediction))
        total += time.perf_counter() - begin
        current = answer if current is None else _merge(current, answer, place, lengths, single)
        for row, count in enumerate(counts):
            if place < count:
                kept[row], seconds[row] = current, total
    return kept, seconds


def _merge(current, answer, place, lengths, single):
    """Returns the answers after frame `place`; who has no such frame keeps the last one."""

    def merge(old, new):
        fresh = (place < lengths).reshape(-1, *[1] * (new.ndim - 1))
        blend = old + (new - old) / (place + 1) if single else new
        return np.where(fresh, blend, old)

    return jax.tree.map(merge, current, answer)
