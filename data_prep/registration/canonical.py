"""The canonical frame: every scan is brought to one template by a rigid motion, metric as it is.

No landmarks. Candidates for the nose tip give the first poses (`pose_search`), the best of them
are refined by trimmed ICP (`icp`), and a group of subjects is then refined towards its own mean
surface (`groupwise`). All of it is a pure function of its inputs and independent of the order of
subjects.
"""

import functools

import numpy as np

from data_prep.registration import icp, pose_search, ray_casting
from data_prep.registration.matched_points import ScanPoints
from data_prep.registration.pose_search import RegistrationError, is_turned
from seqface_jax.geometry import map_grid

# The best turned pose must fit better by this than the best upright one: the right pose fits better
# than any rival by 0.5 mm, in extreme faces by as good as nothing.
_TURNED_BETTER_MM = 0.25
_TURNED_RIVALS = 2  # Turned poses that are refined and compared ...
_TURNED_COARSE_MM = 1.0  # ... if among the first poses the best is not worse by more than this.
_MAX_COST_MM = 6.5  # Mean distance, 12 mm where nothing matches; faces have 2 to 5.
# Likeness of the nose; upright, spheres, boxes and the like stay below 0.43, faces above 0.53.
_MIN_LIKENESS, _MIN_TURNED_LIKENESS = 0.47, 0.55
_NOSE_CONE_RAD = np.radians(30.0)
_MIN_MATCHED = 0.5


def register(scan, template):
    """Finds the rigid motion that carries a scan into the template's frame.

    The template's points look for their partners on the scan, never the reverse, so that what
    a scan holds besides the face does not pull; partners that are far, turned away or on the
    scan's rim are left out (Turk and Levoy, 1994), the others weighted by Tukey's biweight.

    Args:
        scan: a clean Scan, mm, anywhere and turned in any way; upright and frontal is y up, z out.
        template: Scan of the face region in the canonical frame.

    Returns:
        ScanMotion, scan frame -> canonical frame, and the residual: the weighted mean
        distance of the matched template points, mm.

    Raises:
        RegistrationError: the best pose is not that of a face, or no pose is clearly the best.
    """
    (transform, fit), rival = _find(scan, template)
    likeness = nose_likeness(transform.apply_to_scan(scan), template)
    enough = _MIN_TURNED_LIKENESS if is_turned(transform) else _MIN_LIKENESS
    if fit.matched < _MIN_MATCHED or fit.cost_mm > _MAX_COST_MM or likeness < enough:
        raise RegistrationError(
            f'the scan does not look like a face (the best fit covers {100 * fit.matched:.0f} % '
            f'of the face, the nose agrees by {likeness:.2f}); is it whole, outside out, in mm?'
        )
    if rival is not None:
        raise RegistrationError(
            f'how the scan is turned is not clear: {orientation(rival)} fits as well as '
            f'{orientation(transform)}; turn it so that the face looks along +z and its top '
            'points along +y'
        )
    return transform, fit.residual_mm


def orientation(transform):
    """Returns how the face stands in the frame of its scan: 'its face along +z, its top along +y'.

    Args:
        transform: ScanMotion, scan frame -> canonical frame.
    """
    names = []
    for direction in transform.rotation[2], transform.rotation[1]:  # Canonical z and y there.
        axis = int(np.argmax(np.abs(direction)))
        names.append(f'{"+" if direction[axis] > 0 else "-"}{"xyz"[axis]}')
    return 'its face along {}, its top along {}'.format(*names)


def locate(scan, template):
    """Returns the ScanMotion of `register`, whether or not its best pose is of a face.

    Raises:
        RegistrationError: the scan is too small, or has nothing like a nose.
    """
    return _find(scan, template)[0][0]


def poses(scan, template):
    """Returns the RigidTransforms that `register` chooses from, refined, the likeliest first.

    Raises:
        RegistrationError: the scan is too small, or has nothing like a nose.
    """
    target = ScanPoints(scan)
    starts, _ = pose_search.first_poses(target, template, 12, turned=False)
    starts += pose_search.first_poses(target, template, _TURNED_RIVALS, turned=True)[0]
    return [icp.refine(target, start, template)[0] for start in starts]


def _find(scan, template):
    """Finds the best pose, upright or turned.

    Returns:
        (ScanMotion scan -> template, its icp.IcpFit), and None, or the upright ScanMotion where
        a turned one fits better, but not clearly.

    Raises:
        RegistrationError: the scan is too small, or has nothing like a nose.
    """
    target = ScanPoints(scan)
    upright, upright_costs = pose_search.first_poses(target, template, 1, turned=False)
    turned, turned_costs = pose_search.first_poses(target, template, _TURNED_RIVALS, turned=True)
    if upright and min(turned_costs, default=np.inf) > upright_costs[0] + _TURNED_COARSE_MM:
        turned = []
    found = [icp.refine(target, start, template) for start in upright + turned]
    if not found:
        raise RegistrationError('the scan does not look like a face: it has nothing like a nose.')
    best = min(found, key=lambda one: one[1].cost_mm)
    straight = [one for one in found if not is_turned(one[0])]
    if not is_turned(best[0]) or not straight:
        return best, None
    second = min(straight, key=lambda one: one[1].cost_mm)
    is_clear = best[1].cost_mm < second[1].cost_mm - _TURNED_BETTER_MM
    return best, None if is_clear else second[0]


def refine(scan, transform, reference):
    """Returns the ScanMotion of a scan to `reference`, from a pose near the right one."""
    return icp.refine(ScanPoints(scan, coarse=False), transform, reference)[0]


def nose_likeness(scan, template):
    """Returns how alike the relief of the nose is on two scans in the canonical frame.

    The relief is the radius without its best quadratic in the angles; the likeness is the
    correlation of both, 1 for the same nose, about 0 where there is none.
    """
    directions, template_radius = _nose_of(template)
    radii = [ray_casting.cast_radius(scan, directions), template_radius]
    known = np.isfinite(radii).all(axis=0)
    if known.sum() < 0.5 * len(known):
        return 0.0
    x, y, _ = directions[known].T
    smooth = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    reliefs = [
        radius[known] - smooth @ np.linalg.lstsq(smooth, radius[known], rcond=None)[0]
        for radius in radii
    ]
    return float(np.corrcoef(reliefs)[0, 1]) if min(np.ptp(r) for r in reliefs) > 0 else 0.0


@functools.lru_cache(maxsize=2)
def _nose_of(template):
    """Returns the directions [N, 3] around the template's nose, and its radius there [N], mm."""
    directions = map_grid.ray_directions(64)
    towards = ray_casting.nose_tip(template)
    near = directions @ (towards / np.linalg.norm(towards)) > np.cos(_NOSE_CONE_RAD)
    return directions[near], ray_casting.cast_radius(template, directions[near])
