"""The canonical frame: every scan is brought to one template by a rigid motion, metric as it is.

No landmarks. Candidates for the nose tip give the first poses, the best of them are refined by
trimmed ICP, and a group of subjects is then refined towards its own mean surface. All of it is
a pure function of its inputs and independent of the order of subjects.
"""

import functools
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import linalg
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from data_prep.registration import ray_casting as position_map_lib
from data_prep.scans import cleaning
from data_prep.scans.scan import Scan
from seqface_jax.errors import UserError
from seqface_jax.geometry import alignment, surface, vectors
from seqface_jax.geometry import position_map as grid

# The template's points count fully on the inner face and fade out where hair, ears, collar and
# neck may be: beyond this distance from the nose tip, above and below it.
_FULL_WEIGHT_MM, _FADE_MM = 55.0, 25.0
_UP_MM, _DOWN_MM, _EDGE_FADE_MM = 28.0, 58.0, 8.0
# The nose counts more: 1 + gain at the tip, in choosing a start, in finding the pose, and in the
# last stage; within _CORE_MM a partner up to _CORE_SCALE_MM away is a partner: no hair is there.
_NOSE_GAINS = (2.0, 2.0, 1.0)
_CORE_MM, _CORE_SCALE_MM = 30.0, 25.0
_SIZE_DEVIATION = 0.1  # By which the template may be stretched along each axis to fit a face.
_VOXEL_MM = 4.0  # Spacing of the template points of the last stage.
_COARSE_VOXEL_MM = 11.0
_SCAN_VOXEL_MM = 5.0  # Spacing of the scan points of the first stages.
_NOSE_RADIUS_MM = 28.0  # Radius of the patch that tells how far a point protrudes.
_NOSE_CANDIDATES = 8
_NOSE_SPACING_MM = 18.0
_ROLLS = 12
_PITCHES_RAD = np.radians((-30.0, 0.0, 30.0))
_MAX_TURN_RAD = np.radians(75.0)  # From upright and frontal; beyond it a scan is turned.
# The best turned pose must fit better by this than the best upright one: the right pose fits better
# than any rival by 0.5 mm, in extreme faces by as good as nothing.
_TURNED_BETTER_MM = 0.25
_TURNED_RIVALS = 2  # Turned poses that are refined and compared ...
_TURNED_COARSE_MM = 1.0  # ... if at the coarse stage the best is not worse by more than this.
_FAR_MM = 40.0  # No partner beyond it in the first stages.
_MAX_ITERATIONS = 60
_TOLERANCE_MM = 1e-3
_MIN_COS = 0.5  # Normals of matched points differ by at most 60 degrees.
_TRIM_SCALE_MM = (6.0, 25.0)  # Limits of the distance at which a partner is no partner.
_CARRY_SCALE_MM = (6.0, 12.0)
_MISFIT_MM = 2.0  # Usual misfit of a face and the template.
_STIFFNESS = 0.3  # Stiffness of the misfit that is carried into hidden parts.
_MATCHED_MM = 12.0
_MAX_COST_MM = 6.5  # Mean distance, 12 mm where nothing matches; faces have 2 to 5.
# Likeness of the nose; upright, spheres, boxes and the like stay below 0.43, faces above 0.53.
_MIN_LIKENESS, _MIN_TURNED_LIKENESS = 0.47, 0.55
_NOSE_CONE_RAD = np.radians(30.0)
_MIN_MATCHED = 0.5
_MIN_SUBJECTS = 0.3  # Share of the group that must know a pixel of the mean surface.


class RegistrationError(UserError):
    """Raised where no pose makes the scan look like a face."""


class ScanMotion(alignment.RigidTransform):
    """The motion of a whole Scan: x -> x @ rotation.T + translation, mm."""

    __slots__ = ()

    def apply_to_scan(self, scan):
        """Returns the moved Scan."""
        moved = self.apply(scan.vertices.astype(np.float64)).astype(np.float32)
        return Scan(moved, scan.triangles, scan.uv, scan.texture)

    def angle_to(self, other):
        """Returns the angle between the two rotations, radians."""
        cosine = (np.trace(self.rotation @ other.rotation.T) - 1) / 2
        return float(np.arccos(np.clip(cosine, -1, 1)))


IDENTITY = ScanMotion(np.eye(3), np.zeros(3))


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


def is_turned(transform):
    """Returns whether a ScanMotion scan -> canonical is of a scan that is not upright."""
    return transform.angle_to(IDENTITY) > _MAX_TURN_RAD


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
    target = _Target(scan)
    starts, _ = _coarse_poses(target, template, 12, turned=False)
    starts += _coarse_poses(target, template, _TURNED_RIVALS, turned=True)[0]
    return [_refine(target, start, template)[0] for start in starts]


def _find(scan, template):
    """Finds the best pose, upright or turned.

    Returns:
        (ScanMotion scan -> template, its _Fit), and None, or the upright ScanMotion where
        a turned one fits better, but not clearly.

    Raises:
        RegistrationError: the scan is too small, or has nothing like a nose.
    """
    target = _Target(scan)
    upright, upright_costs = _coarse_poses(target, template, 1, turned=False)
    turned, turned_costs = _coarse_poses(target, template, _TURNED_RIVALS, turned=True)
    if upright and min(turned_costs, default=np.inf) > upright_costs[0] + _TURNED_COARSE_MM:
        turned = []
    found = [_refine(target, start, template) for start in upright + turned]
    if not found:
        raise RegistrationError('the scan does not look like a face: it has nothing like a nose.')
    best = min(found, key=lambda one: one[1].cost_mm)
    straight = [one for one in found if not is_turned(one[0])]
    if not is_turned(best[0]) or not straight:
        return best, None
    second = min(straight, key=lambda one: one[1].cost_mm)
    is_clear = best[1].cost_mm < second[1].cost_mm - _TURNED_BETTER_MM
    return best, None if is_clear else second[0]


def _coarse_poses(target, template, count, *, turned):
    """Finds the best poses of the first stages, upright ones or turned ones.

    Returns:
        list of RigidTransforms scan -> template, `count` at most, the best first; and their costs,
        mm.
    """
    if target.coarse_points is None or len(target.coarse_points) < 30:
        raise RegistrationError('the scan is too small to be a face; is its unit mm?')
    coarse = _sample(template, _COARSE_VOXEL_MM)
    starts, costs, best = _starts(target, template, turned=turned), np.zeros(0), []
    for kept, iterations in ((48, 0), (12, 6), (count, 10)):
        if len(starts[0]):
            found, costs = _coarse_icp(starts, coarse, target, iterations)
            best = _distinct(found, costs, template)[:kept]
            starts = (found[0][best], found[1][best])
    transforms = [ScanMotion(*start).inverse() for start in zip(*starts, strict=True)]
    return transforms, list(costs[best])


def refine(scan, transform, reference):
    """Returns the ScanMotion of a scan to `reference`, from a pose near the right one."""
    return _refine(_Target(scan, coarse=False), transform, reference)[0]


def _refine(target, transform, template):
    """Returns the refined ScanMotion scan -> template, and _Fit."""
    fine = _sample(template, _VOXEL_MM)
    placed, size, _ = _icp(transform.inverse(), np.ones(3), fine, target, carry=False)
    placed, _, fit = _icp(placed, size, fine, target, carry=True)
    return placed.inverse(), fit


def nose_likeness(scan, template):
    """Returns how alike the relief of the nose is on two scans in the canonical frame.

    The relief is the radius without its best quadratic in the angles; the likeness is the
    correlation of both, 1 for the same nose, about 0 where there is none.
    """
    directions = grid.ray_directions(64)
    towards = position_map_lib.nose_tip(template)
    near = directions @ (towards / np.linalg.norm(towards)) > np.cos(_NOSE_CONE_RAD)
    directions = directions[near]
    radii = [position_map_lib.cast_radius(one, directions) for one in (scan, template)]
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


def refine_groupwise(scans, transforms, template, *, rounds=3, map_fn=map):
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
        anchor = refine(reference, IDENTITY, template)
        reference = anchor.apply_to_scan(reference)
        transforms = list(map_fn(refine, scans, transforms, [reference] * len(transforms)))
    return transforms, reference


def radius_map(scan, transform):
    """Returns the radius of a scan's position map, [S, S] float64, NaN outside its mask."""
    moved = transform.apply_to_scan(scan)
    radius = position_map_lib.cast_radius(moved, grid.ray_directions())
    points = radius[..., None] * grid.ray_directions()
    distance = np.linalg.norm(points - position_map_lib.nose_tip(moved), axis=-1)
    return np.where(distance <= grid.CROP_RADIUS_MM, radius, np.nan)


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
    points = (radius[..., None] * grid.ray_directions(len(radius))).astype(np.float32)
    return position_map_lib.map_surface(points, mask)


class _Points(NamedTuple):
    """Template points: places and unit normals [N, 3], weights of the three uses [N], core [N]
    bool (near the nose), and their graph."""

    positions: np.ndarray
    normals: np.ndarray
    start_weights: np.ndarray
    weights: np.ndarray
    last_weights: np.ndarray
    core: np.ndarray
    laplacian: sparse.sparray
    neighbours: np.ndarray


class _Fit(NamedTuple):
    """How well a pose fits: mean misfit of matched points, share of them, capped distance."""

    residual_mm: float
    matched: float
    cost_mm: float


@functools.lru_cache(maxsize=8)
def _sample(template, voxel_mm):
    """Returns one point per voxel of the template's surface, weighted by area and place."""
    nose = position_map_lib.nose_tip(template)
    vertices = template.vertices.astype(np.float64)
    area = _vertex_areas(vertices, template.triangles)
    near = np.linalg.norm(vertices - nose, axis=1) <= grid.CROP_RADIUS_MM
    inside = (area > 0) & near & (vertices[:, 2] > 0)
    normals = surface.vertex_normals(vertices, template.triangles, smoothing=2)[inside]
    vertices, area = vertices[inside], area[inside]
    voxel = np.unique(np.floor(vertices / voxel_mm), axis=0, return_inverse=True)[1].ravel()
    total = np.bincount(voxel, area)
    sums = [np.bincount(voxel, area * values) for values in vertices.T]
    # The vertex nearest to the voxel's mean, so that points lie on the surface.
    offset = np.linalg.norm(vertices - (np.stack(sums, axis=1) / total[:, None])[voxel], axis=1)
    order = np.lexsort((offset, voxel))
    first = order[np.r_[True, voxel[order][1:] != voxel[order][:-1]]]
    positions = vertices[first]
    distance = np.linalg.norm(positions - nose, axis=1)
    place = total * _place_weights(positions, nose)
    start, middle, last = (
        base * (1 + gain * _fade(distance - 10.0, 15.0))
        for base, gain in zip((total, place, place), _NOSE_GAINS, strict=True)
    )
    core = distance < _CORE_MM
    return _Points(positions, normals[first], start, middle, last, core, *_graph(positions))


def _place_weights(positions, nose):
    """Returns [N]: 1 on eyes, nose, mouth and cheeks, fading out to hairline, ears and neck."""
    offset = positions - nose
    weights = _fade(np.linalg.norm(offset, axis=1) - _FULL_WEIGHT_MM, _FADE_MM)
    weights *= _fade(offset[:, 1] - _UP_MM, _EDGE_FADE_MM)
    return weights * _fade(-offset[:, 1] - _DOWN_MM, _EDGE_FADE_MM)


def _fade(beyond_mm, width_mm):
    return np.exp(-0.5 * (np.maximum(beyond_mm, 0) / width_mm) ** 2)


class _Target:
    """A scan, ready for many searches: fine points with tree, and coarse ones."""

    def __init__(self, scan, *, coarse=True):
        scan = cleaning.weld(scan)  # At a seam of the texture there is no rim.
        vertices = scan.vertices.astype(np.float64)
        normals = surface.vertex_normals(vertices, scan.triangles, smoothing=3)
        usable = np.isfinite(normals).all(axis=1) & (np.abs(normals).sum(axis=1) > 0)
        self.points, self.normals = vertices[usable], normals[usable]
        self.on_rim = cleaning.on_rim(len(vertices), scan.triangles)[usable]
        self.tree = cKDTree(self.points)
        self.coarse_points = None
        if coarse and len(self.points):
            voxel = np.floor((self.points - self.points.min(axis=0)) / _SCAN_VOXEL_MM)
            chosen = np.unique(voxel, axis=0, return_index=True)[1]
            self.coarse_points, self.coarse_normals = self.points[chosen], self.normals[chosen]
            self.coarse_tree = cKDTree(self.coarse_points)


def _vertex_areas(vertices, triangles):
    area = np.repeat(cleaning.triangle_areas(vertices, triangles) / 3, 3)
    return np.bincount(triangles.ravel(), area, minlength=len(vertices))


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


def _starts(target, template, *, turned):
    """Returns poses template -> scan, rotations [M, 3, 3] and translations [M, 3].

    The template's nose tip goes to each candidate, its z axis along the normal of the patch
    there, turned about it by every roll and tilted by every pitch. Of these poses the upright
    ones are returned, or all others.
    """
    tips, forward = _nose_candidates(target)
    rolls = np.arange(_ROLLS) * (2 * np.pi / _ROLLS)
    nose = position_map_lib.nose_tip(template)
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


def _distinct(poses, costs, template):
    """Returns the indices of poses by cost, without those that are nearly a better one."""
    rotations, translations = poses
    tips = rotations @ position_map_lib.nose_tip(template) + translations
    chosen = []
    for i in np.argsort(costs, kind='stable'):
        apart = np.linalg.norm(tips[chosen] - tips[i], axis=1) > 6.0
        cosine = (np.einsum('mij,ij->m', rotations[chosen], rotations[i]) - 1) / 2
        if np.all(apart | (cosine < np.cos(np.radians(8.0)))):
            chosen.append(i)
    return chosen


def _coarse_icp(starts, source, target, iterations):
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
        source: _Points of the template.
        target: _Target of the scan.
        carry: what becomes of template points that have no partner (hair, hole, collar).
            False: they are left out, and `size` is estimated with the pose, so that a long face
            does not slide along the template. True: `size` stays and they take the misfit of
            the parts around them (Laplace's equation on the template's points). Faces differ
            from the template, so leaving parts out would tilt the pose; with it every point
            counts in every scan alike. It needs a start near the right pose.

    Returns:
        ScanMotion template -> scan, size [3] and _Fit.
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
    return _Fit(
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


def _graph(points, count=7):
    """Returns the Laplacian [N, N] and the neighbours [N, count] of points close together."""
    nearest = cKDTree(points).query(points, k=count)[1]
    rows = np.repeat(np.arange(len(points)), count)
    shape = (len(points), len(points))
    adjacency = sparse.csr_array((np.ones(rows.size), (rows, nearest.ravel())), shape=shape)
    adjacency = adjacency.maximum(adjacency.T)
    return sparse.diags_array(adjacency.sum(axis=1)) - adjacency, nearest


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
