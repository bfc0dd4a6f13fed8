import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from seqface_jax.errors import UserError
from seqface_jax.geometric_filter import belief, face_basis, information, point_fit, projection
from tests.helpers import simulated_points
from tests.helpers.compiling import quick_jit

WORLD = simulated_points.World(shapes=8, points=60, expressions=3, common=1, vertices=100)
LEAST_SQUARES = point_fit.FitSettings(robust_degrees=1e6, shape_cut=1e6, correlation=0.0)
NOTHING_SHARED = information.make_shared_error(np.zeros(8), np.zeros((8, 8)))


def bundle_adjustment(frames):
    """Returns shape [K] and its covariance of all frames at once, by SciPy in float64."""
    model, count = WORLD.model, len(frames)
    directions, common = np.asarray(model.directions, float), np.asarray(model.common, float)
    width, mean = float(model.width_mm), np.asarray(model.mean, float)
    base = Rotation.from_matrix(np.diag([1.0, -1, -1]))

    def residuals(unknowns):
        shape, rows = unknowns[:8], unknowns[8:].reshape(count, -1)
        parts = [shape]
        for frame, row in zip(frames, rows, strict=True):
            turn, centre, (log_scale, log_distance), rest = np.split(row, [3, 5, 7])
            points = mean + (directions @ np.concatenate([shape, rest[:3]])).T
            turned = points @ (base * Rotation.from_rotvec(turn)).as_matrix().T
            distance, scale = np.exp(log_distance), np.exp(log_scale)
            focal = scale * distance
            seen = turned + distance * np.array([*(1000 * centre / focal), 1])
            places = focal * seen[:, :2] / seen[:, 2:] + scale * width * (rest[3] * common[0])
            root = np.sqrt(np.asarray(frame.precision)[:, 0, 0] * np.asarray(frame.weights))
            seen_places = np.asarray(frame.places, np.float64)  # Derivatives are differences.
            parts.append(((seen_places - places) * root[:, None]).ravel())
            off = (np.log(focal) - float(frame.log_focal_mean)) / float(frame.log_focal_deviation)
            parts.append(np.array([(log_distance - 6.5) / 0.5, off, *rest]))
        return np.concatenate(parts)

    start = [0, 0, 0, 0, 0, np.log(1200) - 6.5, 6.5, 0, 0, 0, 0]
    found = least_squares(residuals, np.concatenate([np.zeros(8), np.tile(start, count)]))
    return found.x[:8], np.linalg.inv(found.jac.T @ found.jac)[:8, :8]


@pytest.mark.parametrize('count, tolerance', [(1, 0.02), (6, 0.3)])
def test_the_filter_equals_a_batch_bundle_adjustment(count, tolerance):
    rng = np.random.default_rng(2)
    shape = WORLD.person(rng)
    frames = [WORLD.frame(rng, shape) for _ in range(count)]
    state = WORLD.initial_state()
    for frame in frames:
        state, _ = belief.update(state, WORLD.model, NOTHING_SHARED, frame, LEAST_SQUARES)
    answer = belief.posterior(state, NOTHING_SHARED, LEAST_SQUARES)
    batch, covariance = bundle_adjustment(frames)
    deviation = np.sqrt(np.diagonal(covariance))  # The tolerance is a share of it.
    assert np.abs((answer.mean - batch) / deviation).max() < tolerance
    np.testing.assert_allclose(
        np.sqrt(np.diagonal(answer.covariance)), deviation, rtol=max(tolerance / 2, 0.02)
    )


def prior():
    return information.Gaussian(jnp.zeros(8), jnp.eye(8))


def test_pose_and_camera_of_exact_points_are_found():
    head = Rotation.from_euler('YXZ', [35, -15, 10], degrees=True).as_matrix()
    rotation, translation = np.diag([1, -1, -1]) @ head, np.array([40.0, -25.0, 450.0])
    points = np.asarray(WORLD.model.mean + WORLD.model.centre)
    seen = points @ rotation.T + translation
    frame = simulated_points.make_observation(
        900 * seen[:, :2] / seen[:, 2:], 0.5, np.ones(60), np.log(900), 0.01
    )
    fit = point_fit.fit_frame(WORLD.model, prior(), frame, LEAST_SQUARES)
    np.testing.assert_allclose(fit.rotation, rotation, atol=0.003)
    np.testing.assert_allclose(fit.translation, translation, atol=6)
    np.testing.assert_allclose(fit.places, frame.places, atol=0.2)
    np.testing.assert_allclose(np.rad2deg([fit.yaw_rad, fit.pitch_rad]), [35, -15], atol=0.3)
    placed = points @ np.asarray(fit.rotation).T + np.asarray(fit.translation)
    np.testing.assert_allclose(fit.focal_px * placed[:, :2] / placed[:, 2:], fit.places, atol=0.2)


@pytest.mark.parametrize('yaw_deg', [-80, -40, 0, 40, 80])
def test_views_up_to_profile_are_found(yaw_deg):
    rng = np.random.default_rng(4)
    frame = WORLD.frame(rng, WORLD.person(rng), yaw_deg=yaw_deg)
    fit = point_fit.fit_frame(WORLD.model, prior(), frame, point_fit.FitSettings())
    assert np.rad2deg(fit.yaw_rad) == pytest.approx(yaw_deg, abs=4)
    assert 0.5 < float(fit.chi2) < 1.5


def test_a_third_of_the_points_far_off_moves_a_pose_by_less_than_a_degree():
    rng = np.random.default_rng(6)
    frame = WORLD.frame(rng, WORLD.person(rng), yaw_deg=20)
    clean = point_fit.fit_frame(WORLD.model, prior(), frame, point_fit.FitSettings())
    wild = jnp.arange(60) % 3 == 0
    width = float(jnp.ptp(frame.places[:, 0]))
    shift = 0.3 * width * jnp.asarray(rng.normal(size=(60, 2)), jnp.float32)
    frame = frame._replace(places=frame.places + wild[:, None] * shift)
    dirty = point_fit.fit_frame(WORLD.model, prior(), frame, point_fit.FitSettings())
    between = Rotation.from_matrix(np.asarray(dirty.rotation.T @ clean.rotation))
    assert np.rad2deg(between.magnitude()) < 1.5
    assert float(dirty.weight) > 0.5


def test_the_expression_lies_within_its_band():
    rng = np.random.default_rng(7)
    fits = [
        point_fit.fit_frame(
            WORLD.model, prior(), WORLD.frame(rng, WORLD.person(rng)), point_fit.FitSettings()
        )
        for _ in range(8)
    ]
    # Truth is N(0, 1) and unknown here; by the law of total variance estimate and rest add to 1.
    spread = np.mean([fit.expression**2 + fit.expression_variance for fit in fits])
    assert 0.5 < spread < 1.7


def test_pose_and_expression_follow_a_shape_that_is_known_only_later():
    rng = np.random.default_rng(9)
    shape = jnp.asarray(WORLD.person(rng), jnp.float32)
    frame = WORLD.frame(rng, shape)
    sure = information.Gaussian(shape, 1e5 * jnp.eye(8))
    alone, wanted = (
        point_fit.fit_frame(WORLD.model, belief, frame, LEAST_SQUARES) for belief in (prior(), sure)
    )
    moved = point_fit.at_shape(WORLD.model, alone, shape)
    np.testing.assert_array_equal(alone.known_shape, alone.shape)
    np.testing.assert_allclose(moved.known_shape, shape, atol=1e-5)
    np.testing.assert_array_equal(moved.shape, alone.shape)
    for name in ('rotation', 'expression', 'places'):
        before, after = (
            np.linalg.norm(getattr(fit, name) - getattr(wanted, name)) for fit in (alone, moved)
        )
        assert after < 0.3 * before


def test_a_frame_is_measured_again_from_where_the_fit_puts_its_points():
    rng = np.random.default_rng(10)
    frame = WORLD.frame(rng, WORLD.person(rng))
    before = point_fit.fit_frame(WORLD.model, prior(), frame, LEAST_SQUARES)

    @quick_jit
    def fit_twice(frame):
        def look_again(places):
            return frame._replace(places=places + 5)

        return point_fit.fit_looking_again(WORLD.model, prior(), frame, LEAST_SQUARES, look_again)

    fit = fit_twice(frame)
    seen = frame.weights > 0
    np.testing.assert_allclose(fit.observation.places[seen], before.places[seen] + 5, atol=0.1)
    np.testing.assert_allclose(fit.places[seen], before.places[seen] + 5, atol=0.5)


def test_a_picture_of_ten_times_the_pixels_has_the_same_fit():
    rng = np.random.default_rng(8)
    frame = WORLD.frame(rng, WORLD.person(rng))
    scaled = frame._replace(
        places=10 * frame.places,
        precision=frame.precision / 100,
        log_focal_mean=frame.log_focal_mean + jnp.log(10),
    )
    first, second = (
        point_fit.fit_frame(WORLD.model, prior(), each, LEAST_SQUARES) for each in (frame, scaled)
    )
    np.testing.assert_allclose(first.shape, second.shape, atol=2e-3)
    np.testing.assert_allclose(first.translation, second.translation, rtol=5e-3, atol=0.5)


def test_derivatives_of_the_projection_equal_automatic_ones():
    camera = projection.FrameCamera(
        jnp.diag(jnp.array([1.0, -1.0, -1.0])) @ projection.rotation_of(jnp.array([0.1, 0.4, 0.2])),
        jnp.array([0.3, -0.2]),
        jnp.float32(-4.9),
        jnp.float32(6.0),
    )
    points = WORLD.model.mean
    _, by_points, by_camera = quick_jit(projection.project_with_derivatives)(camera, points)
    automatic = jax.jacobian(
        lambda step: projection.project(projection.moved(camera, step), points)
    )
    np.testing.assert_allclose(by_camera, quick_jit(automatic)(jnp.zeros(7)), atol=1e-5)
    each = jax.vmap(jax.jacobian(lambda point: projection.project(camera, point[None])[0]))
    np.testing.assert_allclose(by_points, quick_jit(each)(points), atol=1e-7)


def test_rotations_of_long_vectors_are_rotations():
    rotation = np.asarray(projection.rotation_of(jnp.array([2.0, -3.0, 1.0])), np.float64)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-6)


def test_a_frame_of_another_number_of_points_is_refused():
    frame = WORLD.frame(np.random.default_rng(0), np.zeros(8))
    with pytest.raises(UserError, match='60 points'):
        point_fit.fit_frame(
            WORLD.model,
            prior(),
            frame._replace(places=frame.places[:5]),
            point_fit.FitSettings(),
        )


def test_a_model_of_arrays_that_do_not_fit_together_is_refused():
    with pytest.raises(UserError, match='mean expression'):
        face_basis.make_point_model(WORLD.basis, WORLD.indices, np.zeros((5, 3)), WORLD.expressions)
    with pytest.raises(UserError, match='100 vertices'):
        face_basis.make_point_model(
            WORLD.basis, [100, 0], np.zeros((2, 3)), WORLD.expressions[:, :2]
        )


def test_the_size_alone_widens_the_band_of_a_known_face():
    deviation = face_basis.vertex_deviation_mm(WORLD.basis, jnp.zeros(8), jnp.zeros((8, 8)))
    vertices = np.asarray(WORLD.basis.mean)
    radius = np.linalg.norm(vertices - vertices.mean(0), axis=1)
    np.testing.assert_allclose(deviation, 0.04 * radius, rtol=1e-4)


def test_the_band_of_an_unknown_face_is_that_of_the_basis():
    basis = WORLD.basis._replace(size_deviation=jnp.float32(0))
    deviation = face_basis.vertex_deviation_mm(basis, jnp.zeros(8), jnp.eye(8))
    expected = np.sqrt(np.sum(np.asarray(basis.basis) ** 2, (0, 2)))
    np.testing.assert_allclose(deviation, expected, rtol=1e-4)
