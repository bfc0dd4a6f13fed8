import numpy as np
import pytest
from scipy.spatial import transform

from seqface_jax.geometry import alignment, surface
from tests.helpers import bumpy_face


def _rigid(degrees, shift):
    rotation = transform.Rotation.from_euler('xyz', degrees, degrees=True).as_matrix()
    return alignment.RigidTransform(rotation, np.array(shift, float))


def _points(count=200):
    return np.random.default_rng(0).normal(size=(count, 3)) * [60, 80, 40]


def test_kabsch_recovers_a_known_motion():
    truth = _rigid((20, -50, 130), (5, -7, 100))
    found = alignment.kabsch(_points(), truth.apply(_points()))
    np.testing.assert_allclose(found.rotation, truth.rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, truth.translation, atol=1e-9)


def test_kabsch_never_mirrors():
    found = alignment.kabsch(_points(), _points() * [-1, 1, 1])
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1)


def test_kabsch_ignores_points_of_weight_zero():
    truth = _rigid((10, 0, 0), (1, 2, 3))
    target = truth.apply(_points())
    target[:50] += 1000
    weights = np.arange(200) >= 50
    found = alignment.kabsch(_points(), target, weights)
    np.testing.assert_allclose(found.translation, truth.translation, atol=1e-9)


def test_kabsch_of_a_single_repeated_point_is_a_finite_shift():
    found = alignment.kabsch(np.zeros((5, 3)), np.ones((5, 3)))
    np.testing.assert_allclose(found.apply(np.zeros(3)), np.ones(3))


def test_kabsch_of_unmatched_points_raises():
    with pytest.raises(ValueError, match='matched'):
        alignment.kabsch(np.zeros((5, 3)), np.zeros((4, 3)))


def test_umeyama_recovers_scale_rotation_and_shift():
    truth = _rigid((20, -50, 130), (5, -7, 100))
    scale, rotation, translation = alignment.umeyama(
        _points(), 2.5 * _points() @ truth.rotation.T + truth.translation
    )
    np.testing.assert_allclose(scale, 2.5)
    np.testing.assert_allclose(rotation, truth.rotation, atol=1e-12)
    np.testing.assert_allclose(translation, truth.translation, atol=1e-9)


def test_inverse_undoes_and_compose_chains():
    first, second = _rigid((10, 20, 30), (1, 2, 3)), _rigid((-40, 5, 0), (0, 9, 0))
    np.testing.assert_allclose(first.inverse().apply(first.apply(_points())), _points())
    chained = second.compose(first).apply(_points())
    np.testing.assert_allclose(chained, second.apply(first.apply(_points())))


def _reference_icp(source, target, max_iterations, tolerance):
    """ClayFlannigan/icp with distances from all pairs, step by step."""
    moved, previous = source.copy(), 0.0
    for _ in range(max_iterations):
        pairs = np.linalg.norm(moved[:, None] - target[None], axis=-1)
        matched, distances = target[pairs.argmin(1)], pairs.min(1)
        source_mean, target_mean = moved.mean(0), matched.mean(0)
        u, _, vt = np.linalg.svd((moved - source_mean).T @ (matched - target_mean))
        rotation = vt.T @ u.T
        if np.linalg.det(rotation) < 0:
            vt[2] *= -1
            rotation = vt.T @ u.T
        moved = (moved - source_mean) @ rotation.T + target_mean
        if abs(previous - distances.mean()) < tolerance:
            break
        previous = distances.mean()
    return moved


def test_the_thesis_icp_is_the_published_one():
    target = bumpy_face.sample(bumpy_face.position_map_of(0), 400) / 100
    source = _rigid((5, -4, 3), (0.05, 0.02, 0)).apply(
        bumpy_face.sample(bumpy_face.position_map_of(1), 350, seed=1) / 100
    )
    found, steps = alignment.icp_thesis(source, target)
    expected = _reference_icp(source, target, 100, 1e-4)
    np.testing.assert_allclose(found.apply(source), expected, atol=1e-12)
    assert 2 < steps < 100


def test_the_thesis_icp_stops_at_its_limit():
    target = _points() / 100
    _, steps = alignment.icp_thesis(target + 0.5, target, max_iterations=3, tolerance=0.0)
    assert steps == 3


def test_alignment_with_a_surface_undoes_a_rigid_motion():
    face = bumpy_face.position_map_of(0)
    target = surface.Surface(*surface.from_prediction(face, ordered=True))
    points = bumpy_face.scan_of(face, noise_mm=0.0).vertices
    moved = _rigid((4, -3, 2), (3, -2, 4)).apply(points)
    aligned = alignment.align_to_surface(moved, target).apply(moved)
    # The nose, 90 mm from the origin, would be off by 8 mm without alignment.
    assert np.linalg.norm(aligned - points, axis=1).mean() < 0.05


def test_a_missing_half_does_not_pull_the_alignment():
    face = bumpy_face.position_map_of(0)
    half = np.ones(face.shape[:2], bool)
    half[:, 64:] = False
    target = surface.Surface(*surface.from_prediction(face, ordered=True, mask=half))
    points = bumpy_face.scan_of(face).vertices
    aligned = alignment.align_to_surface(points, target).apply(points)
    assert np.linalg.norm(aligned - points, axis=1).mean() < 0.2


def test_an_outgrowth_does_not_pull_the_alignment():
    face = bumpy_face.position_map_of(0)
    target = surface.Surface(*surface.from_prediction(face, ordered=True))
    points = bumpy_face.scan_of(face).vertices
    hairy = points.copy()
    hairy[points[:, 1] > 60] *= 1.2
    aligned = alignment.align_to_surface(hairy, target).apply(points)
    assert np.linalg.norm(aligned - points, axis=1).mean() < 0.5
