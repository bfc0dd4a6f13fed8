"""The refinement of a group of scans towards their own mean surface."""

import numpy as np

from data_prep.registration import canonical, ray_casting
from data_prep.registration.scan_motion import IDENTITY
from seqface_jax.geometry import map_grid

_MIN_SUBJECTS = 0.3  # Share of the group that must know a pixel of the mean surface.


def refine(scans, transforms, template, *, rounds=3, map_fn=map):
    """Refines the frames of a group of subjects towards their common mean surface.

    Each round takes the mean of the position maps, registers every scan to it, and puts the
    mean back where the template lies, so that the frame does not drift. The order of subjects
    changes nothing, bit for bit.

    Args:
        scans: list of clean Scans.
        transforms: list of RigidTransforms into the canonical frame, from `register`.
        template: Scan in the canonical frame.
        rounds: number of rounds.
        map_fn: `map`, or the map method of a pool of workers.

    Returns:
        list of RigidTransforms, and the mean surface as a Scan in the canonical frame.
    """
    transforms = list(transforms)
    for _ in range(rounds):
        reference = mean_surface(list(map_fn(radius_map, scans, transforms)))
        anchor = canonical.refine(reference, IDENTITY, template)
        reference = anchor.apply_to_scan(reference)
        transforms = list(
            map_fn(canonical.refine, scans, transforms, [reference] * len(transforms))
        )
    return transforms, reference


def radius_map(scan, transform):
    """Returns the radius of a scan's position map, [S, S] float64, NaN outside its mask."""
    moved = transform.apply_to_scan(scan)
    radius = ray_casting.cast_radius(moved, map_grid.ray_directions())
    points = radius[..., None] * map_grid.ray_directions()
    distance = np.linalg.norm(points - ray_casting.nose_tip(moved), axis=-1)
    return np.where(distance <= map_grid.CROP_RADIUS_MM, radius, np.nan)


def mean_surface(radius_maps):
    """Returns the mean of position maps as a Scan: per pixel the mean of the middle half.

    Args:
        radius_maps: list of [S, S], NaN where unknown. Their order does not matter, not even
            in the last bit, because each pixel's values are sorted before they are added.
    """
    radii = np.sort(np.stack(radius_maps), axis=0)  # NaN goes last.
    count = np.isfinite(radii).sum(axis=0)
    rank = np.arange(len(radii))[:, None, None]
    low = count // 4
    middle = (rank >= low) & (rank < np.maximum(count - low, 1)) & (rank < count)
    total = np.where(middle, radii, 0).sum(axis=0)
    mask = count >= max(1, _MIN_SUBJECTS * len(radii))
    radius = np.where(mask, total / np.maximum(middle.sum(axis=0), 1), 0)
    points = (radius[..., None] * map_grid.ray_directions(len(radius))).astype(np.float32)
    return ray_casting.map_surface(points, mask)
