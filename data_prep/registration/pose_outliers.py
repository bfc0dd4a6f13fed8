"""Scans that registration posed wrongly: their surfaces lie far from everybody else's.

The residual of a registration does not tell: a turned face may lie as close to the template as a
face that differs from it. The group does: in the right pose the position map of a person is within
a few mm of the median of all of them.
"""

from typing import NamedTuple

import numpy as np

from data_prep.registration import canonical, groupwise
from data_prep.registration.scan_motion import ScanMotion
from seqface_jax.errors import UserError
from seqface_jax.geometry import map_grid

MIN_GROUP = 20  # Fewest scans whose median stands for everybody.
MAX_DEVIATION_MM = 6.0  # Sound poses had at most 4.5, turned by over 15 degrees at least 7.0.
_KNOWN_SHARE = 0.5  # Least share of the group that knows a pixel of the median.
_MIN_COVERED = 0.5  # Least share of the median's pixels that a scan knows.


class Posed(NamedTuple):
    """A scan's pose, and how far its surface then lies from the median of the group, mm."""

    transform: ScanMotion
    deviation_mm: float


def settle(scans, transforms, template, *, map_fn=map):
    """Judges the poses of a group of scans; a pose that is far off is looked for anew.

    Args:
        scans: list of clean Scans, in any order.
        transforms: list of RigidTransforms into the canonical frame, from `canonical.register`.
        template: Scan in the canonical frame.
        map_fn: `map`, or the map method of a pool of workers.

    Returns:
        list of Posed. Who still `is_far` has no pose to rely on. A group below MIN_GROUP is not
        judged: its poses come back with deviations of NaN.
    """
    if len(scans) < MIN_GROUP:
        return [Posed(transform, float('nan')) for transform in transforms]
    radius_maps = list(map_fn(_radius_map, scans, transforms))
    median = median_radius(radius_maps)
    deviations = [deviation_mm(radius, median) for radius in radius_maps]
    settled = list(map(Posed, transforms, deviations))
    far = [n for n, deviation in enumerate(deviations) if deviation > MAX_DEVIATION_MM]
    others = map_fn(_best_pose, [scans[n] for n in far], [template] * len(far), [median] * len(far))
    for n, other in zip(far, others, strict=True):
        settled[n] = min(settled[n], other, key=lambda posed: posed.deviation_mm)
    return settled


def is_far(posed):
    """Returns whether a Posed is not to be relied on."""
    return posed.deviation_mm > MAX_DEVIATION_MM  # False for NaN: nobody judged it.


def why(deviation_mm, neutral):
    """Returns the sentence why a subject with such a pose is left out."""
    sequence, index = neutral
    distance = (
        f'lies {deviation_mm:.1f} mm on average from those of the others'
        if np.isfinite(deviation_mm)
        else 'does not overlap those of the others'
    )
    return (
        f'its neutral scan ({sequence} {index:03d}) could not be turned to the front: its surface '
        f'{distance}, and more than {MAX_DEVIATION_MM:g} mm is a wrong pose; choose another scan '
        'of it with --neutral'
    )


def median_radius(radius_maps):
    """Returns the median of radius maps [S, S], mm; NaN where less than half of them know it."""
    radii = np.stack(radius_maps)
    known = np.isfinite(radii).mean(axis=0) >= _KNOWN_SHARE
    median = np.full(known.shape, np.nan)
    median[known] = np.nanmedian(radii[:, known], axis=0)
    return median


def deviation_mm(radius, median):
    """Returns the mean distance between two radius maps; infinite if they share too little."""
    difference = np.abs(radius - median)
    shared = np.isfinite(difference)
    if not shared.any() or shared.sum() < _MIN_COVERED * np.isfinite(median).sum():
        return float('inf')
    return float(difference[shared].mean())


def _best_pose(scan, template, median):
    """Returns the Posed nearest to the median, of all the poses that registration considers."""
    considered = [
        Posed(transform, deviation_mm(_radius_map(scan, transform), median))
        for transform in canonical.poses(scan, template)
    ]
    return min(considered, key=lambda posed: posed.deviation_mm)


def _radius_map(scan, transform):
    """Returns `groupwise.radius_map`; all NaN where the pose leaves no nose in its place."""
    try:
        return groupwise.radius_map(scan, transform)
    except UserError:
        return np.full((map_grid.SIZE, map_grid.SIZE), np.nan)
