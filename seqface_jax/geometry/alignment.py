"""Rigid and similarity alignment: closed forms, the thesis's ICP, and ICPs onto a surface."""

from typing import NamedTuple

import numpy as np
from scipy import spatial

# From a photo's axes (x right, y down, z away from the camera) to those of a face that looks at the
# camera (y up, z towards it), and back.
UPRIGHT = np.diag([1.0, -1.0, -1.0])
_SURFACE_ITERATIONS = 40
_SURFACE_KEEP = 0.8  # Share of the matches that count: hair or a missing cheek must not pull.
_SURFACE_TOLERANCE_MM = 1e-4  # Change of the kept matches' mean distance that ends the search.
_SURFACE_SAMPLES = 1500  # Points that vote; the transform has six numbers.
_LOST = 1.5  # Times the mean distance of all points at the start, plus 1 mm.
_MIN_MATCHES = 12
_SIMILARITY_ITERATIONS = 100


class RigidTransform(NamedTuple):
    """x -> x @ rotation.T + translation; rotation [3, 3] with determinant +1."""

    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points):
        """Moves points [..., 3]."""
        return points @ self.rotation.T + self.translation

    def compose(self, first):
        """Returns the transform that applies `first` and then this one."""
        return type(self)(self.rotation @ first.rotation, self.apply(first.translation))

    def inverse(self):
        """Returns the transform that undoes this one."""
        return type(self)(self.rotation.T, -self.translation @ self.rotation)

    @classmethod
    def identity(cls):
        """Returns the transform that moves nothing."""
        return cls(np.eye(3), np.zeros(3))


class Similarity(NamedTuple):
    """x -> scale * x @ rotation.T + translation; rotation [3, 3] with determinant +1."""

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points):
        """Moves points [..., 3]."""
        return self.scale * (points @ self.rotation.T) + self.translation

    def inverse(self):
        """Returns the similarity that undoes this one; its scale must not be 0."""
        translation = -self.translation @ self.rotation / self.scale
        return type(self)(1 / self.scale, self.rotation.T, translation)

    @classmethod
    def identity(cls):
        """Returns the similarity that moves nothing."""
        return cls(1.0, np.eye(3), np.zeros(3))


def kabsch(source, target, weights=None):
    """Finds the rotation and shift that best carry source onto target, without reflection.

    Weighted least squares over matched points; Kabsch, 1976.

    Args:
        source: [N, 3], any unit.
        target: [N, 3], the same unit.
        weights: [N] not negative; all equal if left out.

    Returns:
        RigidTransform.

    Raises:
        ValueError: source, target or weights differ in length.
    """
    _, transform = _procrustes(source, target, weights)
    return transform


def umeyama(source, target, weights=None):
    """Finds the scale, rotation and shift that best carry source onto target.

    Umeyama, 1991, eqs. 40-42; without reflection.

    Args:
        source: [N, 3], any unit.
        target: [N, 3], the unit of the result.
        weights: [N] not negative; all equal if left out.

    Returns:
        scale [], rotation [3, 3] and translation [3], so that
        scale * source @ rotation.T + translation is nearest to target.
    """
    scale, transform = _procrustes(source, target, weights)
    weights = _normalised(weights, len(source))
    translation = weights @ target - scale * transform.rotation @ (weights @ source)
    return scale, transform.rotation, translation


def _normalised(weights, count):
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    return weights / weights.sum()


def _procrustes(source, target, weights):
    """Returns the least-squares scale and, for scale 1, the rigid transform."""
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or (weights is not None and len(weights) != len(source)):
        raise ValueError(f'matched points needed, got {source.shape} and {target.shape}')
    weights = _normalised(weights, len(source))
    source_mean, target_mean = weights @ source, weights @ target
    source_centred, target_centred = source - source_mean, target - target_mean
    covariance = (source_centred * weights[:, None]).T @ target_centred
    u, singular, vt = np.linalg.svd(covariance)
    # The last axis is flipped when the best orthogonal matrix would mirror.
    signs = np.array([1.0, 1.0, -1.0 if np.linalg.det(u @ vt) < 0 else 1.0])
    rotation = vt.T @ (signs[:, None] * u.T)
    variance = weights @ (source_centred**2).sum(1)
    scale = (singular * signs).sum() / variance if variance > 0 else 1.0
    return scale, RigidTransform(rotation, target_mean - rotation @ source_mean)


def icp_thesis(source, target, *, max_iterations=100, tolerance=1e-4):
    """Aligns one cloud with another as the thesis's evaluation did.

    Its appendix B-6 uses ClayFlannigan/icp: each source point is matched with its nearest target
    point, the least-squares rigid step is taken, and the search ends after the step at which the
    mean distance (measured before the step) changed by less than `tolerance`. Only the speed
    differs: the tree of the target is built once.

    Args:
        source: [N, 3] the prediction.
        target: [M, 3] the ground truth, same unit as source; `tolerance` is in that unit. Or a
            SciPy cKDTree of it.

    Returns:
        RigidTransform from source to target and the number of steps taken.
    """
    source = np.asarray(source, np.float64)
    tree = target if isinstance(target, spatial.cKDTree) else spatial.cKDTree(target)
    moved, previous_error = source, 0.0
    step = 0
    for step in range(1, max_iterations + 1):  # noqa: B007
        distances, index = tree.query(moved)
        moved = kabsch(moved, tree.data[index]).apply(moved)
        error = distances.mean()
        if abs(previous_error - error) < tolerance:
            break
        previous_error = error
    return kabsch(source, moved), step


def align_to_surface(points, surface):
    """Aligns points with a surface by trimmed point-to-plane ICP, started where they lie.

    A point whose closest surface point lies on the surface's open border has no partner there and
    does not vote; of the others the nearest 80 % vote. The same few lines align every prediction
    and every baseline. Low, 2004 (linearised point-to-plane); Chetverikov et al., 2005 (trimming).
    A search that wanders off (the surface is no face) is dropped and the points stay in place.

    Args:
        points: [N, 3] mm.
        surface: surface.Surface, mm.

    Returns:
        RigidTransform from points to surface.
    """
    points = np.asarray(points, np.float64)
    points = points[:: max(1, len(points) // _SURFACE_SAMPLES)]
    transform, previous_mm, start_mm = RigidTransform.identity(), np.inf, None
    for _ in range(_SURFACE_ITERATIONS):
        moved = transform.apply(points)
        hit = surface.closest(moved)
        start_mm = hit.distance.mean() if start_mm is None else start_mm
        if hit.distance.mean() > _LOST * start_mm + 1:
            return RigidTransform.identity()
        keep = _voters(hit)
        mean_mm = hit.distance[keep].mean()
        if abs(previous_mm - mean_mm) < _SURFACE_TOLERANCE_MM:
            break
        previous_mm = mean_mm
        normals = surface.normals[hit.triangle[keep]]
        transform = _point_to_plane(moved[keep], hit.point[keep], normals).compose(transform)
    return transform


def similarity_icp(points, surface, *, fixed, tolerance_mm=1e-3):
    """Aligns points with a surface by ICP with one scale for all axes, started where they lie.

    Every point is matched with its closest surface point (nothing is trimmed), and the similarity
    of least squares over the matches is taken (Besl and McKay, 1992, with Umeyama, 1991), until
    the mean distance falls by less than `tolerance_mm`.

    Args:
        points: [N, 3] mm.
        surface: surface.Surface, mm.
        fixed: 'points' or 'surface': what keeps its size. The squares that are least are measured
            there: where the surface is fixed, points can shrink on to it.

    Returns:
        Similarity from points to surface, whichever was fixed; its scale may be 0 where the
        surface is fixed.
    """
    if fixed not in ('points', 'surface'):
        raise ValueError(f"fixed must be 'points' or 'surface', got {fixed!r}")
    points = np.asarray(points, np.float64)
    transform, previous_mm = Similarity.identity(), np.inf
    for _ in range(_SIMILARITY_ITERATIONS):
        hit = surface.closest(transform.apply(points))
        mean_mm = hit.distance.mean() / (transform.scale if fixed == 'points' else 1.0)
        if previous_mm - mean_mm < tolerance_mm:
            break
        previous_mm = mean_mm
        if fixed == 'points':
            transform = Similarity(*umeyama(hit.point, points)).inverse()
        else:
            transform = Similarity(*umeyama(points, hit.point))
    return transform


def _voters(hit):
    inner = np.flatnonzero(~hit.on_border)
    if len(inner) < _MIN_MATCHES:  # A collapsed surface is all border.
        inner = np.arange(len(hit.distance))
    count = max(_MIN_MATCHES, int(round(_SURFACE_KEEP * len(inner))))
    return inner[np.argsort(hit.distance[inner], kind='stable')[:count]]


def _point_to_plane(source, target, normals):
    """Returns the rigid step of least sum of ((source - target) . normal)^2, linearised."""
    centre = source.mean(0)  # Turning about the points' middle conditions the system well.
    length = max(np.abs(source - centre).max(), 1e-9)
    jacobian = np.concatenate([np.cross((source - centre) / length, normals), normals], axis=1)
    residual = ((target - source) * normals).sum(1)
    # lstsq: directions that no plane holds (a sphere, a point) get no motion.
    solution = np.linalg.lstsq(jacobian, residual, rcond=1e-6)[0]
    rotation = spatial.transform.Rotation.from_rotvec(solution[:3] / length).as_matrix()
    return RigidTransform(rotation, centre + solution[3:] - rotation @ centre)
