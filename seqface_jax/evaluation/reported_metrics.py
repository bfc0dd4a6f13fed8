"""Every number that a table reports, each declared once.

What is declared here is computed for every answer, averaged with an interval into results.json,
and shown as a column of the tables and a sentence of the protocol. Nothing else has to be changed
for another one.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqface_jax.evaluation import calibration, metrics
from seqface_jax.evaluation.answer_and_truth import truth_at
from seqface_jax.geometry import face_regions


class Metric(NamedTuple):
    """A number that is reported of an answer about a subject.

    Attributes:
        name: of the field in results.json, with its unit.
        title: of its column.
        digits: format of its values in a table.
        sentence: what it measures, for the protocol.
        function: of AnswerAndTruth; returns a float, a metrics.Summary, a dict of floats by region,
            or None where it is not defined. None: it is not told from one answer.
        optional: whether its column is left out where no row has a value.
        interval: whether its column shows the interval beside the mean.
        summary: whether its values are metrics.Summary.
    """

    name: str
    title: str
    digits: str
    sentence: str
    function: Callable | None
    optional: bool = False
    interval: bool = False
    summary: bool = False


def vertex_mm(case):
    """Returns the mean distance of equal pixels of answer and truth, mm; None without truth."""
    return None if case.truth is None else _mean(case.vertex_distances[case.truth[1]])


def frame_mm(case):
    """Computes how far an answer is from the faces of frames, expression and all.

    As metrics.vertex_mm, of the answer's frame_map; of one that has none, of its neutral face.

    Returns:
        float, mm, the mean over frames that have a map; None if there are none, or the answer is
        not ordered.
    """
    answer = case.answer
    predicted = answer.position_map if answer.frame_map is None else answer.frame_map
    if predicted is None:
        return None
    distances = [
        metrics.vertex_mm(predicted, *truth_at(true_map, mask, len(predicted)))
        for true_map, mask in case.frame_maps
    ]
    distances = [distance for distance in distances if distance is not None]
    return float(np.mean(distances)) if distances else None


def region_vertex_mm(case):
    """Returns vertex_mm of each region, a dict of float or None."""
    if case.truth is None:
        return dict.fromkeys(face_regions.regions())
    mask = case.truth[1]
    return {
        name: _mean(case.vertex_distances[region & mask])
        for name, region in face_regions.regions(len(mask)).items()
    }


def region_scan_to_mesh_mm(case):
    """Returns the mean distance from each region of the scan to the answer, mm, a dict."""
    region = face_regions.regions_of(metrics.scan_points(case.scan))
    return {
        name: _mean(case.hits.distance[region == number])
        for number, name in enumerate(face_regions.regions())
    }


def _mean(values):
    return float(values.mean()) if len(values) else None


def _of_stated_variance(function):
    """Returns the metric `function` of map, log variance, true map and mask, where both say it."""

    def of_case(case):
        answer = case.answer
        if case.truth is None or answer.log_variance is None:
            return None
        return function(answer.position_map, answer.log_variance, *case.truth)

    return of_case


def _of_cells(function):
    """Returns the metric `function` of cells and true cells, where the answer has any."""
    return lambda case: None if case.cells is None else function(*case.cells)


METRICS = (
    Metric(
        'nme_thesis',
        title='nme_thesis',
        digits='.4f',
        sentence='for comparison with the thesis only: a collapsed prediction scores 0',
        function=lambda case: metrics.nme_thesis(case.answer.vertices, case.points),
    ),
    Metric(
        'scan_to_mesh_mm',
        title='scan to mesh, mm: mean / median / p90',
        digits='.2f',
        sentence="distance from every scan point of the crop to the answer's surface, or its rim",
        function=lambda case: metrics.scan_to_mesh_mm(case.hits),
        summary=True,
    ),
    Metric(
        'mesh_to_scan_mm',
        title='mesh to scan, mm: mean / median / p90',
        digits='.2f',
        sentence="distance from the answer's vertices to the scan, but for those beyond its border",
        function=lambda case: metrics.mesh_to_scan_mm(case.scan, case.surface, case.transform),
        summary=True,
    ),
    Metric(
        'coverage',
        title='coverage',
        digits='.3f',
        sentence=f'share of scan points within {metrics.COVERAGE_MM:g} mm of the answer, and not '
        'of its rim only',
        function=lambda case: metrics.coverage(case.hits),
    ),
    Metric(
        'vertex_mm',
        title='vertex_mm [95 % interval]',
        digits='.2f',
        sentence='distance of equal map pixels to the synthetic truth; null without truth, or for '
        'unordered predictions',
        function=vertex_mm,
        interval=True,
    ),
    Metric(
        'frame_mm',
        title='frame_mm [95 % interval]',
        digits='.2f',
        sentence='as vertex_mm, of the face with the expression of the last frame to that '
        "frame's own map (a mean face: to the maps of the last frames of all rows); null where no "
        'network says it',
        function=frame_mm,
        optional=True,
        interval=True,
    ),
    Metric(
        'ced_auc',
        title='CED area',
        digits='.3f',
        sentence='area under the cumulative distribution of the distances from scan points to '
        'the answer, from 0 to 5 mm, over 5 mm; 1 is best',
        function=lambda case: metrics.ced_auc(case.cumulative_errors),
    ),
    Metric(
        'coverage_90',
        title='90 % band holds',
        digits='.3f',
        sentence='share of true coordinates inside the stated 90 % band, in the canonical frame, '
        'without alignment',
        function=_of_stated_variance(calibration.coverage_90),
        optional=True,
    ),
    Metric(
        'sigma_mm',
        title='stated sigma, mm',
        digits='.3f',
        sentence='root mean square of the standard deviation that is stated of a coordinate',
        function=_of_stated_variance(
            lambda predicted, log_variance, true, mask: calibration.sigma_mm(log_variance, mask)
        ),
        optional=True,
    ),
    Metric(
        'coordinate_rms_mm',
        title='true sigma, mm',
        digits='.3f',
        sentence='root mean square of the true error of a coordinate; equals sigma_mm where the '
        'network is calibrated',
        function=_of_stated_variance(
            lambda predicted, log_variance, *truth: calibration.coordinate_rms_mm(predicted, *truth)
        ),
        optional=True,
    ),
    Metric(
        'unused_frames',
        title='frames not used',
        digits='.3f',
        sentence='share of the frames shown in which a run that finds the face itself found none '
        'that it could use: such a frame changes nothing, and before the first other one the '
        'answer is the mean face of the run; null for networks that take every frame as it is',
        function=lambda case: None if case.answer.unused is None else float(case.answer.unused),
        optional=True,
    ),
    Metric(
        'order_spread',
        title='order spread',
        digits='.3f',
        sentence='standard deviation of the error of a subject over orders of the same frames, '
        'over their mean; averaged over subjects; null where no orders were asked for',
        function=None,
        optional=True,
    ),
    Metric(
        'voxel_iou',
        title='voxel IoU',
        digits='.3f',
        sentence='intersection over union of predicted and true cells; null without voxels',
        function=_of_cells(metrics.voxel_iou),
        optional=True,
    ),
    Metric(
        'voxel_ap',
        title='voxel AP',
        digits='.3f',
        sentence='average precision over the cells, ranked by their probability',
        function=_of_cells(metrics.voxel_ap),
        optional=True,
    ),
)
# Dicts by region of the position map; the first that is known is shown, in a table of its own.
REGIONS = (
    Metric(
        'region_vertex_mm',
        title='vertex_mm',
        digits='.2f',
        sentence='vertex_mm of each region: nose, mouth, eyes, cheeks, forehead, chin',
        function=region_vertex_mm,
        optional=True,
    ),
    Metric(
        'region_scan_to_mesh_mm',
        title='scan_to_mesh_mm',
        digits='.2f',
        sentence='mean of scan_to_mesh_mm over the scan points of each region',
        function=region_scan_to_mesh_mm,
        optional=True,
    ),
)
