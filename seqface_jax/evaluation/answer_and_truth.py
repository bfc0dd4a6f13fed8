"""One answer about one subject beside what is known of the subject: what several metrics need."""

import functools

import numpy as np

from seqface_jax.evaluation import metrics
from seqface_jax.geometry import surface, voxels


class AnswerAndTruth:
    """An answer, its subject's scan and truth; what several metrics share is computed once.

    Attributes:
        answer: streaming.Answer.
        scan: surface.Surface, the 95 mm crop.
        points: [N, 3] mm, the thesis's target.
        frame_maps: list of (map [128, 128, 3] mm, mask [128, 128] bool), the faces of frames that
            frame_mm is about.
    """

    def __init__(self, subjects, index, answer, frame_maps=()):
        """Takes subject `index` of scoring.Subjects."""
        self._subjects, self._index = subjects, index
        self.answer, self.frame_maps = answer, frame_maps
        self.scan = subjects.scans[index]

    @property
    def points(self):
        """The thesis's targets, [N, 3] mm."""
        return self._subjects.points[self._index]

    @functools.cached_property
    def surface(self):
        """The answer as surface.Surface."""
        return surface.Surface(self.answer.vertices, self.answer.triangles)

    @functools.cached_property
    def transform(self):
        """alignment.RigidTransform from the scan to the answer."""
        return metrics.align(self.scan, self.surface)

    @functools.cached_property
    def hits(self):
        """The answer's closest points to the scan's, as `metrics.scan_hits` returns them."""
        return metrics.scan_hits(self.scan, self.surface, self.transform)

    @functools.cached_property
    def cumulative_errors(self):
        """Shares of scan points within each of metrics.CED_MM."""
        return metrics.cumulative_errors(self.hits.distance)

    @functools.cached_property
    def truth(self):
        """True map [S, S, 3] mm and its mask [S, S] at the side of the answer's map.

        None where the answer is not ordered, or the truth is not known.
        """
        if self.answer.position_map is None:
            return None
        index, side = self._index, len(self.answer.position_map)
        true_map, mask = self._subjects.true_maps[index], self._subjects.true_masks[index]
        true_map, mask = truth_at(true_map, mask, side)
        return (true_map, mask) if mask.any() else None

    @functools.cached_property
    def vertex_distances(self):
        """Distances of equal pixels, [S, S] mm; None where there is no truth."""
        if self.truth is None:
            return None
        return metrics.vertex_distances(self.answer.position_map, *self.truth)

    @functools.cached_property
    def cells(self):
        """Probability and truth of the cells, [N, N, N] each; None if the answer has no voxels."""
        cells, index = self.answer.voxels, self._index
        if cells is None:
            return None
        box = cells.corner_mm, cells.cell_mm, len(cells.logits)
        inside = voxels.occupancy(self._subjects.maps[index : index + 1], *box)
        return 1 / (1 + np.exp(-np.asarray(cells.logits, np.float64))), np.asarray(inside)[0]


def truth_at(true_map, mask, side):
    """Returns a true map [S, S, 3] and its mask [S, S] at the side of a predicted one."""
    stride = len(true_map) // side
    return true_map[::stride, ::stride], surface.resize_mask(mask, side)
