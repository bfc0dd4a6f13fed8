"""Scores surfaces: every metric of one answer about one subject, whoever gave it."""

from typing import NamedTuple

import numpy as np

from seqface_jax.errors import UserError
from seqface_jax.evaluation import calibration, metrics
from seqface_jax.geometry import face_regions, surface, voxels

SUMMARIES = ('scan_to_mesh_mm', 'mesh_to_scan_mm')
METRICS = ('nme_thesis', 'scan_to_mesh_mm', 'mesh_to_scan_mm', 'coverage', 'vertex_mm')
METRICS += ('ced_auc', 'coverage_90', 'sigma_mm', 'coordinate_rms_mm', 'order_spread')
METRICS += ('voxel_iou', 'voxel_ap', 'frame_mm')
REGIONS = ('region_vertex_mm', 'region_scan_to_mesh_mm')  # Dicts: of nose, mouth, ...


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
        answer: predict.Answer.
        frame_maps: list of (map [128, 128, 3] mm, mask [128, 128] bool), the faces of frames that
            frame_mm is about.

    Returns:
        dict of METRICS (metrics.Summary, float, or None where a metric is not defined; the order
        spread is not told from one answer), of REGIONS (dict of float or None), and of `ced`, the
        cumulative distribution of the distances from the scan to the answer
        (metrics.cumulative_errors).
    """
    scan = subjects.scans[index]
    predicted = surface.Surface(answer.vertices, answer.triangles)
    transform = metrics.align(scan, predicted)
    hits = metrics.scan_hits(scan, predicted, transform)
    ced = metrics.cumulative_errors(hits.distance)
    return {
        'nme_thesis': metrics.nme_thesis(answer.vertices, subjects.points[index]),
        'scan_to_mesh_mm': metrics.scan_to_mesh_mm(hits),
        'mesh_to_scan_mm': metrics.mesh_to_scan_mm(scan, predicted, transform),
        'coverage': metrics.coverage(hits),
        'region_scan_to_mesh_mm': _regions_of_scan(scan, hits),
        'ced': ced,
        'ced_auc': metrics.ced_auc(ced),
        'order_spread': None,
        'frame_mm': frame_mm(answer, frame_maps),
        **_score_map(answer, subjects, index),
        **_score_voxels(answer.voxels, subjects, index),
    }


def error_mm(subjects, index, answer):
    """Returns vertex_mm of one answer; where it is not defined the mean of scan_to_mesh_mm."""
    truth = _truth(answer, subjects, index)
    if truth is not None and truth[1].any():
        return metrics.vertex_mm(answer.position_map, *truth)
    scan = subjects.scans[index]
    predicted = surface.Surface(answer.vertices, answer.triangles)
    hits = metrics.scan_hits(scan, predicted, metrics.align(scan, predicted))
    return metrics.scan_to_mesh_mm(hits).mean


def frame_mm(answer, frame_maps):
    """Computes how far an answer is from the faces of frames, expression and all.

    As metrics.vertex_mm, of the answer's frame_map; of one that has none, of its neutral face.

    Args: as of `score`.

    Returns:
        float, mm, the mean over frames that have a map; None if there are none, or the answer is
        not ordered.
    """
    predicted = answer.position_map if answer.frame_map is None else answer.frame_map
    if predicted is None:
        return None
    side, found = len(predicted), []
    for true_map, mask in frame_maps:
        found.append(metrics.vertex_mm(predicted, *truth_at(true_map, mask, side)))
    return mean(found)


def truth_at(true_map, mask, side):
    """Returns a true map [S, S, 3] and its mask [S, S] at the side of a predicted one."""
    stride = len(true_map) // side
    return true_map[::stride, ::stride], surface.resize_mask(mask, side)


def _truth(answer, subjects, index):
    """Returns the true map and mask at the size of an answer's map; None if it is not ordered."""
    if answer.position_map is None:
        return None
    side = len(answer.position_map)
    return truth_at(subjects.true_maps[index], subjects.true_masks[index], side)


def _score_map(answer, subjects, index):
    """Returns what is told by comparing pixel with pixel; None where map or truth is missing."""
    names = ('vertex_mm', 'coverage_90', 'sigma_mm', 'coordinate_rms_mm')
    found = dict.fromkeys(names) | {'region_vertex_mm': dict.fromkeys(face_regions.regions())}
    truth = _truth(answer, subjects, index)
    if truth is None or not truth[1].any():
        return found
    true_map, mask = truth
    distances = metrics.vertex_distances(answer.position_map, *truth)
    found['vertex_mm'] = _mean(distances[mask])
    for name, region in face_regions.regions(len(mask)).items():
        found['region_vertex_mm'][name] = _mean(distances[region & mask])
    if answer.log_variance is not None:
        stated = answer.position_map, answer.log_variance, true_map, mask
        found['coverage_90'] = calibration.coverage_90(*stated)
        found['sigma_mm'] = calibration.sigma_mm(answer.log_variance, mask)
        found['coordinate_rms_mm'] = calibration.coordinate_rms_mm(
            answer.position_map, true_map, mask
        )
    return found


def _regions_of_scan(scan, hits):
    """Returns the mean distance from each region of the scan to the prediction, mm."""
    region = face_regions.regions_of(metrics.scan_points(scan))
    return {
        name: _mean(hits.distance[region == number])
        for number, name in enumerate(face_regions.regions())
    }


def _mean(values):
    return float(values.mean()) if len(values) else None


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
