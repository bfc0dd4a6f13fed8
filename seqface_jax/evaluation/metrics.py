"""One function per reported number. Distances are in mm except in `nme_thesis`.

What fools which number is shown in the tests: `nme_thesis` falls to zero for a collapsed
prediction and cannot fall under its sampling floor for a right one; `mesh_to_scan_mm` forgives
whatever is missing; `scan_to_mesh_mm` and `coverage` do not. Read them together.
"""

from typing import NamedTuple

import numpy as np
from scipy import spatial

from seqface_jax.geometry import alignment

COVERAGE_MM = 5.0
VOXEL_THRESHOLD = 0.4
CED_MM = np.arange(0, 5.01, 0.1)  # Where the cumulative error distribution is read.


class Summary(NamedTuple):
    """Statistics of distances, mm."""

    mean: float
    median: float
    std: float
    p90: float


def summarise(distances):
    """Returns the Summary of distances [N] mm, or None if there are none."""
    distances = np.asarray(distances, np.float64)
    if not len(distances):
        return None
    p50, p90 = np.percentile(distances, [50, 90])
    return Summary(float(distances.mean()), float(p50), float(distances.std()), float(p90))


def nme_thesis(predicted, target):
    """Computes the thesis's normalised mean error, to be compared with the thesis only.

    Thomassen, 2022, appendix B-6 (its code, not its eq. 13). The target loses its mean and is
    divided by its furthest radius, as the thesis stored its ground truth, and the prediction, here
    in mm, is moved and divided by the same two numbers; so the tolerance of the ICP, 1e-4, is in
    units of the target's radius. Then rigid ICP (prediction to target, at most 100 steps), and the
    mean distance from each predicted point to its nearest target point, over the diagonal of the
    target's bounding box. In the thesis both clouds held 16384 points; clouds of different size
    are used whole.

    Args:
        predicted: [N, 3] mm, canonical frame, only points that are face.
        target: [M, 3] mm, canonical frame.

    Returns:
        A float without unit; 0 is best.

    Raises:
        ValueError: an array is not [N, 3] or is empty.
    """
    for name, points in (('predicted', predicted), ('target', target)):
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(f'{name} points must be [N, 3], got {points.shape}')
    target = np.asarray(target, np.float64)
    centre = target.mean(0)
    radius = np.linalg.norm(target - centre, axis=1).max()
    target = (target - centre) / radius
    predicted = (np.asarray(predicted, np.float64) - centre) / radius
    tree = spatial.cKDTree(target)
    transform, _ = alignment.icp_thesis(predicted, tree, max_iterations=100, tolerance=1e-4)
    distances, _ = tree.query(transform.apply(predicted))
    return float(distances.mean() / np.linalg.norm(np.ptp(target, axis=0)))


def align(scan, predicted):
    """Aligns a scan's crop with a prediction; every mm metric of a scan starts here.

    Args:
        scan: surface.Surface of the 95 mm crop of the cleaned scan.
        predicted: surface.Surface.

    Returns:
        alignment.RigidTransform from the scan to the prediction (alignment.align_to_surface).
    """
    return alignment.align_to_surface(scan_points(scan), predicted)


def scan_points(scan):
    """Returns the scan's vertices that a triangle uses, [N, 3] mm."""
    return scan.vertices[np.unique(scan.triangles)]


def scan_hits(scan, predicted, transform):
    """Finds the predicted surface's closest point to each crop point of the scan; Hits."""
    return predicted.closest(transform.apply(scan_points(scan)))


def scan_to_mesh_mm(hits):
    """Summarises the distance from every scan point of the crop to the predicted surface.

    Nothing is left out: where the prediction has no surface, the distance to its rim counts.

    Args:
        hits: what `scan_hits` returned.
    """
    return summarise(hits.distance)


def mesh_to_scan_mm(scan, predicted, transform):
    """Summarises the distance from predicted vertices to the scan's surface, inside the crop.

    A vertex whose closest scan point lies on the scan's open border is outside the crop, or over a
    hole of the scan, and is left out. None if that leaves nothing.

    Args:
        scan, predicted, transform: as for `scan_hits`.
    """
    vertices = predicted.vertices[np.unique(predicted.triangles)]
    hits = scan.closest(transform.inverse().apply(vertices))
    return summarise(hits.distance[~hits.on_border])


def coverage(hits, limit_mm=COVERAGE_MM):
    """Computes the share of the scan's crop points that the prediction covers.

    Covered: the prediction comes within `limit_mm`, and not with its rim only.

    Args:
        hits: what `scan_hits` returned.
        limit_mm: 5 mm in every table.
    """
    return float(np.mean((hits.distance <= limit_mm) & ~hits.on_border))


def voxel_iou(probability, inside, threshold=VOXEL_THRESHOLD):
    """Computes the intersection over union of predicted and true cells; Choy et al., 2016, eq. 9.

    Args:
        probability: [N, N, N], of being inside.
        inside: [N, N, N] bool.
        threshold: from which on a cell is predicted inside; the paper's published code has 0.4.
    """
    predicted = probability >= threshold
    return float((predicted & inside).sum() / max((predicted | inside).sum(), 1))


def voxel_ap(probability, inside):
    """Computes the average precision over the cells, ranked by their probability.

    The area under the precision-recall steps; cells of equal probability are one step.

    Args:
        probability: [N, N, N], of being inside.
        inside: [N, N, N] bool, at least one of them.
    """
    order = np.argsort(-probability, axis=None, kind='stable')
    ranked, found = probability.ravel()[order], np.cumsum(inside.ravel()[order])
    last = np.r_[ranked[1:] != ranked[:-1], True]
    precision = found[last] / (np.flatnonzero(last) + 1)
    return float((np.diff(found[last], prepend=0) * precision).sum() / found[-1])


def cumulative_errors(distances):
    """Returns the share of distances [N] mm that are at most each of CED_MM, [51]."""
    return np.searchsorted(np.sort(distances), CED_MM + 1e-9) / len(distances)


def ced_auc(shares):
    """Computes the area under a cumulative error distribution from 0 to 5 mm, over 5 mm.

    1 would be no error at all; what is 5 mm off or more adds nothing.

    Args:
        shares: what `cumulative_errors` returned.
    """
    return float(np.trapezoid(shares, CED_MM) / CED_MM[-1])


def vertex_distances(predicted_map, true_map, mask):
    """Returns the distance between corresponding points, after rigid alignment by them.

    Args: as of `vertex_mm`.

    Returns:
        [S, S] mm; NaN outside the mask.

    Raises:
        ValueError: the shapes differ.
    """
    if predicted_map.shape != true_map.shape or mask.shape != true_map.shape[:2]:
        raise ValueError(
            f'maps and mask differ: {predicted_map.shape}, {true_map.shape}, {mask.shape}'
        )
    distances = np.full(mask.shape, np.nan)
    if mask.any():
        predicted, true = predicted_map[mask].astype(np.float64), true_map[mask].astype(np.float64)
        moved = alignment.kabsch(predicted, true).apply(predicted)
        distances[mask] = np.linalg.norm(moved - true, axis=1)
    return distances


def vertex_mm(predicted_map, true_map, mask):
    """Computes the mean distance between corresponding points, after rigid alignment by them.

    Only where the truth is known (synthetic subjects) and the map ordered.

    Args:
        predicted_map: [S, S, 3] mm.
        true_map: [S, S, 3] mm.
        mask: [S, S] bool, pixels where the truth has a point.

    Returns:
        float, mm; None if the mask is empty.

    Raises:
        ValueError: the shapes differ.
    """
    distances = vertex_distances(predicted_map, true_map, mask)
    return float(distances[mask].mean()) if mask.any() else None
