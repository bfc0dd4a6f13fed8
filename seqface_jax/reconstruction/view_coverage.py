"""Which frames of a video are worth painting: of a view that is known already only some are."""

import numpy as np

_CELL_DEG = 5.0  # Side of a cell of yaw and pitch: frames in one show the same parts alike.
# One frame of four in a cell is painted, from the 128th on one of eight, from the 256th on one of
# sixteen: a blink or a hand of half a second is in few of those that are.
_EVERY, _MANY = 4, 64
_BETTER = 1.1  # A frame that is so many times as good as any before in its cell is painted anyway.


class ViewCoverage:
    """Counts the frames of each view, in memory that does not grow with them."""

    def __init__(self):
        """Begins without a frame."""
        self._counts, self._best = {}, {}

    def adds(self, angles_deg, goodness):
        """Takes note of a frame; returns whether it shows what those before have not.

        Args:
            angles_deg: yaw, pitch (and roll) of the head.
            goodness: how well the frame shows the face, above 0.
        """
        cell = tuple(np.floor(np.asarray(angles_deg[:2]) / _CELL_DEG).astype(int))
        count, best = self._counts.get(cell, 0), self._best.get(cell, 0.0)
        self._counts[cell] = count + 1
        every = _EVERY * 2 ** max(0, int(np.log2(max(count, 1) / _MANY)))
        is_better = goodness > _BETTER * best
        if is_better:
            self._best[cell] = goodness
        return is_better or count % every == 0
