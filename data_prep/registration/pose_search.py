"""The first poses of a scan: where its nose may be, and how its face may be turned about it."""

import numpy as np
from scipy.spatial.transform import Rotation

from data_prep.registration import icp, matched_points
from data_prep.registration.scan_motion import IDENTITY, ScanMotion
from seqface_jax.errors import UserError
from seqface_jax.geometry import vectors

_VOXEL_MM = 11.0  # Spacing of the template points.
_NOSE_RADIUS_MM = 28.0  # Radius of the patch that tells how far a point protrudes.
_NOSE_CANDIDATES = 8
_NOSE_SPACING_MM = 18.0
_ROLLS = 12
_PITCHES_RAD = np.radians((-30.0, 0.0, 30.0))
_MAX_TURN_RAD = np.radians(75.0)  # From upright and frontal; beyond it a scan is turned.


class RegistrationError(UserError):
    """Raised where no pose makes the scan look like a face."""


def is_turned(transform):
    """Returns whether a ScanMotion scan -> canonical is of a scan that is not upright."""
    return transform.angle_to(IDENTITY) > _MAX_TURN_RAD


def first_poses(target, template, count, *, turned):
    """Finds the best poses of the first stages, upright ones or turned ones.

    Returns:
        list of RigidTransforms scan -> template, `count` at most, the best first; and their costs,
        mm.
    """
    if target.coarse_points is None or len(target.coarse_points) < 30:
        raise RegistrationError('the scan is too small to be a face; is its unit mm?')
    coarse = matched_points.sample_template(template, _VOXEL_MM)
    starts, costs, best = _starts(target, coarse.nose, turned=turned), np.zeros(0), []
    for kept, iterations in ((48, 0), (12, 6), (count, 10)):
        if len(starts[0]):
            found, costs = icp.icp_from_all(starts, coarse, target, iterations)
            best = _distinct(found, costs, coarse.nose)[:kept]
            starts = (found[0][best], found[1][best])
    transforms = [ScanMotion(*start).inverse() for start in zip(*starts, strict=True)]
    return transforms, list(costs[best])


def _nose_candidates(target):
    """Returns indices of coarse scan points that protrude most from their surroundings."""
    points, normals = target.coarse_points, target.coarse_normals
    pairs = target.coarse_tree.query_pairs(_NOSE_RADIUS_MM, output_type='ndarray')
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    count = np.bincount(pairs[:, 0], minlength=len(points))
    sums = [np.bincount(pairs[:, 0], points[pairs[:, 1], i], len(points)) for i in range(3)]
    mean = np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]
    sums = [np.bincount(pairs[:, 0], normals[pairs[:, 1], i], len(points)) for i in range(3)]
    patch_normals = vectors.unit(np.stack(sums, axis=1))
    protrusion = ((points - mean) * patch_normals).sum(axis=1)
    protrusion[count < 0.3 * np.median(count)] = -np.inf
    chosen = []
    for i in np.argsort(-protrusion, kind='stable'):
        if len(chosen) == _NOSE_CANDIDATES or not np.isfinite(protrusion[i]):
            break
        if all(np.linalg.norm(points[i] - points[j]) > _NOSE_SPACING_MM for j in chosen):
            chosen.append(i)
    return points[chosen], patch_normals[chosen]


def _starts(target, nose, *, turned):
    """Returns poses template -> scan, rotations [M, 3, 3] and translations [M, 3].

    The template's nose tip goes to each candidate, its z axis along the normal of the patch
    there, turned about it by every roll and tilted by every pitch. Of these poses the upright
    ones are returned, or all others. `nose` is the tip, [3].
    """
    tips, forward = _nose_candidates(target)
    rolls = np.arange(_ROLLS) * (2 * np.pi / _ROLLS)
    rotations, translations = [], []
    for tip, z in zip(tips, forward, strict=True):
        x = vectors.unit(np.cross(np.eye(3)[np.argmin(np.abs(z))], z))
        frame = np.stack([x, np.cross(z, x), z], axis=1)
        for roll in rolls:
            for pitch in _PITCHES_RAD:
                turns = Rotation.from_rotvec([[0, 0, roll], [pitch, 0, 0]]).as_matrix()
                rotation = frame @ turns[0] @ turns[1]
                rotations.append(rotation)
                translations.append(tip - rotation @ nose)
    rotations = np.array(rotations).reshape(-1, 3, 3)
    translations = np.array(translations).reshape(-1, 3)
    cosine = (np.trace(rotations, axis1=1, axis2=2) - 1) / 2
    wanted = (cosine > np.cos(_MAX_TURN_RAD)) != turned
    return rotations[wanted], translations[wanted]


def _distinct(poses, costs, nose):
    """Returns the indices of poses by cost, without those that are nearly a better one."""
    rotations, translations = poses
    tips = rotations @ nose + translations
    chosen = []
    for i in np.argsort(costs, kind='stable'):
        apart = np.linalg.norm(tips[chosen] - tips[i], axis=1) > 6.0
        cosine = (np.einsum('mij,ij->m', rotations[chosen], rotations[i]) - 1) / 2
        if np.all(apart | (cosine < np.cos(np.radians(8.0)))):
            chosen.append(i)
    return chosen
