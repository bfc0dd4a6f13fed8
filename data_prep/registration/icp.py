"""Trimmed point-to-plane ICP between the template's points and a scan's.

The template's points look for their partners on the scan, never the reverse, so that what a scan
holds besides the face does not pull. Partners that are far, turned away or on the scan's rim are
left out (Turk and Levoy, 1994), the others weighted by Tukey's biweight.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import linalg
from scipy.spatial.transform import Rotation

from data_prep.registration import matched_points
from data_prep.registration.scan_motion import ScanMotion
from seqface_jax.geometry import vectors

_VOXEL_MM = 4.0  # Spacing of the template points.
_FAR_MM = 40.0  # No partner beyond it in a search from many starts.
_MAX_ITERATIONS = 60
_TOLERANCE_MM = 1e-3
_MIN_COS = 0.5  # Normals of matched points differ by at most 60 degrees.
# Limits of the distance at which a partner is no partner: while the pose and the template's size
# are found, while the misfit is carried into hidden parts, and, at most, in the core of the nose.
_TRIM_SCALE_MM = (6.0, 25.0)
_CARRY_SCALE_MM = (6.0, 12.0)
_CORE_SCALE_MM = 25.0
_SIZE_DEVIATION = 0.1  # By which the template may be stretched along each axis to fit a face.
_MISFIT_MM = 2.0  # Usual misfit of a face and the template.
_STIFFNESS = 0.3  # Stiffness of the misfit that is carried into hidden parts.
_MATCHED_MM = 12.0  # Farther points do not match; in the cost they count as this far.


class IcpFit(NamedTuple):
    """How well a pose fits: mean misfit of matched points, share of them, capped distance."""

    residual_mm: float
    matched: float
    cost_mm: float


def refine(target, transform, template):
    """Returns the refined ScanMotion scan -> template, and IcpFit."""
    fine = matched_points.sample_template(template, _VOXEL_MM)
    placed, size, _ = _icp(transform.inverse(), np.ones(3), fine, target, carry=False)
    placed, _, fit = _icp(placed, size, fine, target, carry=True)
    return placed.inverse(), fit


def icp_from_all(starts, source, target, iterations):
    """Runs ICP from all starts at once; returns the poses and their costs [M]."""
    rotation, translation = starts
    for step in range(iterations + 1):
        moved = source.positions @ np.swapaxes(rotation, 1, 2) + translation[:, None]  # [M, N, 3]
        moved_normals = source.normals @ np.swapaxes(rotation, 1, 2)
        distance, nearest = target.coarse_tree.query(moved, distance_upper_bound=_FAR_MM)
        found = np.isfinite(distance)
        nearest = np.where(found, nearest, 0)
        normals = target.coarse_normals[nearest]
        valid = found & ((normals * moved_normals).sum(axis=-1) > 0.2)
        capped = np.where(valid, np.minimum(distance, _FAR_MM / 2), _FAR_MM / 2)
        costs = capped @ source.start_weights / source.start_weights.sum()
        if step == iterations:
            return (rotation, translation), costs
        scale = np.maximum(3 * np.median(capped, axis=1), 10.0)[:, None]
        weights = source.start_weights * np.where(valid, _tukey(distance / scale), 0)
        normals = vectors.unit(normals + moved_normals)
        misfit = ((target.coarse_points[nearest] - moved) * normals).sum(axis=-1)
        turn, shift = _gauss_newton(moved, misfit, normals, weights)
        rotation = turn @ rotation
        translation = (turn @ translation[..., None])[..., 0] + shift


def _icp(start, size, source, target, *, carry):
    """Runs trimmed ICP from one start to convergence.

    Args:
        start: ScanMotion template -> scan.
        size: [3] stretch of the template along its axes, about the middle of its points.
        source: TemplatePoints of the template.
        target: ScanPoints of the scan.
        carry: what becomes of template points that have no partner (hair, hole, collar).
            False: they are left out, and `size` is estimated with the pose, so that a long face
            does not slide along the template. True: `size` stays and they take the misfit of
            the parts around them (Laplace's equation on the template's points). Faces differ
            from the template, so leaving parts out would tilt the pose; with it every point
            counts in every scan alike. It needs a start near the right pose.

    Returns:
        ScanMotion template -> scan, size [3] and IcpFit.
    """
    rotation, translation = start.rotation, start.translation
    middle = source.weights @ source.positions / source.weights.sum()
    carried = None
    for _ in range(_MAX_ITERATIONS):
        offset = (source.positions - middle) * size
        moved = (middle + offset) @ rotation.T + translation
        normals = vectors.unit(source.normals / size) @ rotation.T
        misfit, distance, normals, trust = _match(moved, normals, source, target, carry)
        if carry:
            system = sparse.diags_array(trust + 1e-4) + _STIFFNESS * source.laplacian
            # Close to the last solution: a few conjugate gradient steps, not a factorisation.
            inverse = sparse.diags_array(1 / system.diagonal())
            carried, _ = linalg.cg(system, trust * misfit, x0=carried, rtol=1e-5, M=inverse)
            filled = trust * misfit + (1 - trust) * carried
            pose = _gauss_newton(
                moved[None], filled[None], normals[None], source.last_weights[None]
            )
            turn, shift = pose[0][0], pose[1][0]
        else:
            weights = source.weights * trust
            stretch = (normals @ rotation) * offset, np.log(size)
            turn, shift, growth = _gauss_newton_with_size(moved, misfit, normals, weights, *stretch)
            size = size * np.exp(growth)
        new_rotation, new_translation = turn @ rotation, turn @ translation + shift
        change = 100 * np.abs(new_rotation - rotation).max()  # mm at the rim of the face
        change += np.abs((new_rotation - rotation) @ middle + new_translation - translation).max()
        rotation, translation = new_rotation, new_translation
        if change < _TOLERANCE_MM:
            break
    return ScanMotion(rotation, translation), size, _fit(source, misfit, distance, trust)


def _fit(source, misfit, distance, trust):
    share = source.weights / source.weights.sum()
    used = share * trust
    capped = np.where(trust > 0, np.minimum(distance, _MATCHED_MM), _MATCHED_MM)
    return IcpFit(
        residual_mm=float((used * np.abs(misfit)).sum() / max(used.sum(), 1e-9)),
        matched=float(share[(trust > 0) & (distance < _MATCHED_MM)].sum()),
        cost_mm=float(share @ capped),
    )


def _match(moved, moved_normals, source, target, carry):
    """Finds the partner of each moved template point on the scan.

    Returns:
        misfit [N], mm along the normals to the partner; distance [N] to it; normals [N, 3],
        the mean of both sides (the template's where there is no trust); trust [N] in [0, 1].
    """
    distance, nearest = target.tree.query(moved)
    normals = target.normals[nearest]
    seen = ((normals * moved_normals).sum(axis=-1) > _MIN_COS) & ~target.on_rim[nearest]
    offset = ((target.points[nearest] - moved) * normals).sum(axis=-1)
    middle = np.median(np.abs(offset[seen])) if seen.any() else np.inf
    scale = np.clip(6 * middle, *(_CARRY_SCALE_MM if carry else _TRIM_SCALE_MM))
    scale = np.where(source.core, np.maximum(scale, _CORE_SCALE_MM), scale)
    trust = np.where(seen, _tukey(distance / scale), 0)
    if carry:  # What is near something foreign (the ramp up to the hair) is foreign too.
        foreign = seen & (distance > 0.6 * scale)
        for _ in range(2):
            foreign = foreign[source.neighbours].any(axis=1)
        trust = np.where(foreign, 0, trust)
    normals = np.where((trust > 0)[:, None], vectors.unit(normals + moved_normals), moved_normals)
    misfit = ((target.points[nearest] - moved) * normals).sum(axis=-1)
    return misfit, distance, normals, trust


def _tukey(ratio):
    """Returns Tukey's biweight, 1 at 0 and 0 from 1 on."""
    return np.square(np.maximum(1 - np.square(np.minimum(ratio, 1.0)), 0))


def _gauss_newton(moved, misfit, normals, weights):
    """Takes one step of symmetric point-to-plane ICP for M poses (Rusinkiewicz, 2019).

    Args:
        moved, misfit, normals, weights: [M, N, 3], [M, N], [M, N, 3] and [M, N].

    Returns:
        turn [M, 3, 3] and shift [M, 3]: x -> turn @ x + shift brings the points nearer.
    """
    centre, jacobian = _rigid_jacobian(moved, normals, weights)
    # A little damping (radians against mm) keeps featureless starts solvable.
    step = _solve(jacobian, misfit, weights, np.array([1e-3, 1e-3, 1e-3, 1e-6, 1e-6, 1e-6]), 0.0)
    return _as_motion(step, centre)


def _gauss_newton_with_size(moved, misfit, normals, weights, stretch, log_size):
    """As _gauss_newton for one pose, with the growth of the template along its three axes.

    Args:
        stretch: [N, 3], what growth along each axis does to the misfit, mm.
        log_size: [3], the growth so far; it is drawn to 0 with _SIZE_DEVIATION.

    Returns:
        turn [3, 3], shift [3] and growth [3], the further growth.
    """
    moved, misfit, normals, weights = moved[None], misfit[None], normals[None], weights[None]
    centre, jacobian = _rigid_jacobian(moved, normals, weights)
    jacobian = np.concatenate([jacobian, stretch[None]], axis=-1)
    prior = (_MISFIT_MM / _SIZE_DEVIATION) ** 2
    damping = np.array([1e-3, 1e-3, 1e-3, 1e-6, 1e-6, 1e-6, prior, prior, prior])
    step = _solve(jacobian, misfit, weights, damping, damping * np.r_[np.zeros(6), log_size])
    turn, shift = _as_motion(step[:, :6], centre)
    return turn[0], shift[0], step[0, 6:]


def _rigid_jacobian(moved, normals, weights):
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    centre = (weights[..., None] * moved).sum(axis=1) / total  # [M, 3]
    turning = np.cross(moved - centre[:, None], normals)
    return centre, np.concatenate([turning, normals], axis=-1)  # [M, N, 6]


def _solve(jacobian, misfit, weights, damping, pull):
    """Solves the weighted normal equations, damping and pull per unit of weight; [M, D]."""
    total = np.maximum(weights.sum(axis=1), 1e-6)[:, None]
    weighted = np.swapaxes(jacobian * weights[..., None], 1, 2)
    hessian = weighted @ jacobian + total[..., None] * np.diag(damping)
    gradient = (weighted @ misfit[..., None])[..., 0] - total * pull
    return np.linalg.solve(hessian, gradient[..., None])[..., 0]


def _as_motion(step, centre):
    turn = Rotation.from_rotvec(step[:, :3]).as_matrix()
    return turn, centre - (turn @ centre[..., None])[..., 0] + step[:, 3:]
