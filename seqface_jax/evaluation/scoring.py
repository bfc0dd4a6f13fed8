"""Scores surfaces: every metric of one answer about one subject, whoever gave it."""

from typing import NamedTuple

import numpy as np

from seqface_jax.errors import UserError
from seqface_jax.evaluation import metrics, reported_metrics
from seqface_jax.evaluation.answer_and_truth import AnswerAndTruth
from seqface_jax.geometry import surface


class Subjects(NamedTuple):
    """The subjects of one split, ready to be scored.

    Attributes:
        ids: list of S str.
        scans: list of S surface.Surface, the 95 mm crops.
        points: [S, N, 3] mm, the thesis's targets.
        true_maps, true_masks: [S, 128, 128, 3] mm and [S, 128, 128]; masks are empty where the
            truth is not known.
        drawn: list of S int arrays, the frames to show, in order.
        maps: [S, 128, 128, 3] mm, the scans as position maps; models that give voxels need them.
    """

    ids: list
    scans: list
    points: np.ndarray
    true_maps: np.ndarray
    true_masks: np.ndarray
    drawn: list
    maps: np.ndarray | None = None


def load_subjects(split, draw):
    """Builds the Subjects of a split.

    Args:
        split: input_pipeline.Split.
        draw: function of a subject's id and FrameIndex that returns the frames to show.

    Raises:
        UserError: a subject has no scan.
    """
    ids, table = split.subject_ids, split.subjects
    scans = []
    for name, vertices, triangles in zip(
        ids, table['scan_vertices'], table['scan_triangles'], strict=True
    ):
        if not len(triangles):
            raise UserError(f'the scan of subject {name} is empty: prepare again')
        scans.append(surface.Surface(vertices, triangles))
    known = table['has_truth'].astype(bool)
    return Subjects(
        ids,
        scans,
        table['points'],
        table['true_position_map'],
        table['true_mask'].astype(bool) & known[:, None, None],
        [draw(name, index) for name, index in zip(ids, split.frame_index, strict=True)],
        table['position_map'],
    )


def score(subjects, index, answer, frame_maps=()):
    """Computes every metric of one answer.

    Args:
        subjects: Subjects.
        index: which of them.
        answer: streaming.Answer.
        frame_maps: list of (map [128, 128, 3] mm, mask [128, 128] bool), the faces of frames that
            frame_mm is about.

    Returns:
        dict of the METRICS and REGIONS of reported_metrics, by name (what their functions return;
        None for what is not told from one answer), and of `ced`, the cumulative distribution of
        the distances from the scan to the answer (metrics.cumulative_errors).
    """
    case = AnswerAndTruth(subjects, index, answer, frame_maps)
    declared = reported_metrics.METRICS + reported_metrics.REGIONS
    scores = {own.name: own.function(case) if own.function else None for own in declared}
    return scores | {'ced': case.cumulative_errors}


def error_mm(subjects, index, answer):
    """Returns vertex_mm of one answer; where it is not defined the mean of scan_to_mesh_mm."""
    case = AnswerAndTruth(subjects, index, answer)
    found = reported_metrics.vertex_mm(case)
    return metrics.scan_to_mesh_mm(case.hits).mean if found is None else found


def column(scores, name):
    """Returns a metric's value per subject where it is defined; the mean of a summary."""
    found = [values[name] for values in scores if values[name] is not None]
    return [value.mean if isinstance(value, metrics.Summary) else value for value in found]


def mean(values):
    """Averages a metric over the subjects; each statistic of a summary by itself; None if none."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    if isinstance(found[0], dict):
        return {name: mean([value[name] for value in found]) for name in found[0]}
    if isinstance(found[0], metrics.Summary):
        means = np.mean(np.array(found), axis=0)
        return metrics.Summary(*map(float, means))._asdict()
    return float(np.mean(found))


def flatten(values):
    """Returns the metrics of one subject without nesting: scan_to_mesh_mm_mean, ..."""
    flat = {}
    for name, value in values.items():
        value = value._asdict() if isinstance(value, metrics.Summary) else value
        if isinstance(value, dict):
            flat |= {f'{name}_{key}': number for key, number in value.items()}
        elif name != 'ced':
            flat[name] = value
    return flat
