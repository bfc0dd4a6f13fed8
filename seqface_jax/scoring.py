"""Scores surfaces: every metric of one answer about one subject, whoever gave it."""

from typing import NamedTuple

import numpy as np

from seqface_jax import metrics, surface, voxels
from seqface_jax.errors import UserError

SUMMARIES = ('scan_to_mesh_mm', 'mesh_to_scan_mm')
METRICS = ('nme_thesis', 'scan_to_mesh_mm', 'mesh_to_scan_mm', 'coverage', 'vertex_mm')
METRICS += ('voxel_iou', 'voxel_ap')


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


def load_subjects(split, count, draw):
    """Builds the Subjects of a split.

    Args:
        split: input_pipeline.Split.
        count: of subjects, in order of their ids; 0: all.
        draw: function of a subject's id and FrameIndex that returns the frames to show.

    Raises:
        UserError: a subject has no scan.
    """
    count = min(len(split.subject_ids), count or len(split.subject_ids))
    table = split.subjects
    scans = []
    for i in range(count):
        if not len(table['scan_triangles'][i]):
            raise UserError(f'the scan of subject {split.subject_ids[i]} is empty: prepare again')
        scans.append(surface.Surface(table['scan_vertices'][i], table['scan_triangles'][i]))
    known = table['has_truth'][:count].astype(bool)
    ids = split.subject_ids[:count]
    return Subjects(
        ids,
        scans,
        table['points'][:count],
        table['true_position_map'][:count],
        table['true_mask'][:count].astype(bool) & known[:, None, None],
        [draw(ids[i], split.frame_index[i]) for i in range(count)],
        table['position_map'][:count],
    )


def score(subjects, index, answer):
    """Computes every metric of one answer.

    Args:
        subjects: Subjects.
        index: which of them.
        answer: predict.Answer.

    Returns:
        dict of nme_thesis, scan_to_mesh_mm, mesh_to_scan_mm (metrics.Summary or None), coverage,
        and vertex_mm, voxel_iou and voxel_ap (None where they are not defined).
    """
    scan = subjects.scans[index]
    predicted = surface.Surface(answer.vertices, answer.triangles)
    transform = metrics.align(scan, predicted)
    hits = metrics.scan_hits(scan, predicted, transform)
    vertex_mm = None
    if answer.position_map is not None:
        side = len(answer.position_map)
        true_map = subjects.true_maps[index][:: 128 // side, :: 128 // side]
        true_mask = surface.resize_mask(subjects.true_masks[index], side)
        vertex_mm = metrics.vertex_mm(answer.position_map, true_map, true_mask)
    return {
        'nme_thesis': metrics.nme_thesis(answer.vertices, subjects.points[index]),
        'scan_to_mesh_mm': metrics.scan_to_mesh_mm(hits),
        'mesh_to_scan_mm': metrics.mesh_to_scan_mm(scan, predicted, transform),
        'coverage': metrics.coverage(hits),
        'vertex_mm': vertex_mm,
        **_score_voxels(answer.voxels, subjects, index),
    }


def _score_voxels(cells, subjects, index):
    """Returns voxel_iou and voxel_ap of models.Voxels against the scan; None without voxels."""
    if cells is None:
        return {'voxel_iou': None, 'voxel_ap': None}
    box = cells.corner_mm, cells.cell_mm, len(cells.logits)
    inside = np.asarray(voxels.occupancy(subjects.maps[index : index + 1], *box))[0]
    probability = 1 / (1 + np.exp(-np.asarray(cells.logits, np.float64)))
    return {
        'voxel_iou': metrics.voxel_iou(probability, inside),
        'voxel_ap': metrics.voxel_ap(probability, inside),
    }


def column(scores, name):
    """Returns a metric's value per subject where it is defined; the mean of a summary."""
    found = [values[name] for values in scores if values[name] is not None]
    return [value.mean if isinstance(value, metrics.Summary) else value for value in found]


def mean(values):
    """Averages a metric over the subjects; each statistic of a summary by itself; None if none."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    if isinstance(found[0], metrics.Summary):
        means = np.mean(np.array(found), axis=0)
        return metrics.Summary(*map(float, means))._asdict()
    return float(np.mean(found))


def flatten(values):
    """Returns the metrics of one subject without nesting: scan_to_mesh_mm_mean, ..."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, metrics.Summary):
            flat |= {f'{name}_{key}': number for key, number in value._asdict().items()}
        else:
            flat[name] = value
    return flat
