"""One frame: pose, camera, expression, and what the frame says about the shape.

Unknowns x = (o [K] observed shape; rotation 3, centre 2, log scale, log distance; e [E]
expression; n [R] common errors). The fit is the mode of

    cost(x) = (o - m)' A (o - m) / 2                       belief of the shape so far
            + |e|^2 / 2 + |n|^2 / 2
            + (log Z - mean)^2 / (2 dev^2) + (log f - mean)^2 / (2 dev^2)
            + tempering * sum_p w_p rho(s_p) / 2,          s_p = r_p' precision_p r_p

with r_p = place - u(X_p) - width sum_r n_r common_rp. The robust loss is that of Student's t in two
dimensions, rho(s) = (d + 2) log(1 + s / d): weights (d + 2) / (d + s) in iterated least squares.
Damped Gauss-Newton steps (Levenberg-Marquardt; a step that does not lower the cost is not taken and
the damping rises) start at the weak perspective pose and end where the cost stands still. All
unknowns q but o are then eliminated; the belief (m, A) is in none of what remains
(information.eliminate). When more is known of o than at the fit, they follow it without another:

    q(o) = q0 - Hqq^-1 Hqo (o - o0)          (at_shape).

A frame of which most points misfit gets a small weight as a whole: with the inlier share

    q = mean of (d + 2) / (d + s_p) over seen points,

about 1 where the precisions are right, the weight is min(1, q / inlier_cut)^2. Whether the frame
shows the same person is for all frames together to say (belief). The places are divided by the
face's width at the start, so that picture units are face widths.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from seqface_jax.errors import UserError
from seqface_jax.geometric_filter import information, projection, start_pose
from seqface_jax.geometric_filter.projection import NUM_CAMERA

# Precision of rotation and centre, which have no prior; keeps them solvable.
_FREE_PRECISION = 1e-2
# Damping of Levenberg-Marquardt and its factors.
_START_DAMPING, _DAMPING_DOWN, _DAMPING_UP = 1e-3, 0.2, 10.0
# A step that changes the cost, a log probability, by less than this is the last one.
_STANDS_STILL = 1e-3


class PointObservation(NamedTuple):
    """What one frame shows; every field may have more axes in front under vmap and scan.

    Attributes:
        places: [P, 2] pixels from the principal point, x right and y down.
        precision: [P, 2, 2] 1 / pixels^2, inverse covariance of each place.
        weights: [P] in [0, 1]; 0 where the point is not seen.
        log_focal_mean: [] log of the focal length in pixels, expected.
        log_focal_deviation: [] its standard deviation.
    """

    places: jax.Array
    precision: jax.Array
    weights: jax.Array
    log_focal_mean: jax.Array
    log_focal_deviation: jax.Array


@struct.dataclass
class FitSettings:
    """Constants of the fit and of the filter; measured ones are given by the caller.

    Attributes:
        tempering: scales all precisions, for what `common` does not hold of correlated errors.
        log_distance_mean, log_distance_deviation: prior of the distance, log of mm.
        robust_degrees: of Student's t; large is least squares.
        point_level: mean chi2 of real frames' points, 1 where precisions are calibrated; all
            precisions are divided by it.
        inlier_cut: inlier share up from which a frame counts in full.
        shape_level: mean misfit of real frames' shapes, 1 where all is calibrated (belief).
        shape_cut: multiple of that level up to which a frame counts in full.
        correlation: of the errors of two frames of one view, 0 to 1.
        copy_tolerance: difference of places, in rms radii of the points, under which two frames
            are the same picture.
        num_steps: Gauss-Newton steps at most.
    """

    tempering: float = 1.0
    log_distance_mean: float = 6.5
    log_distance_deviation: float = 0.5
    robust_degrees: float = 8.0
    point_level: float = 1.0
    inlier_cut: float = 0.5
    shape_level: float = 1.0
    shape_cut: float = 3.0
    correlation: float = 0.5
    copy_tolerance: float = 0.01
    num_steps: int = struct.field(pytree_node=False, default=8)


class _Unknowns(NamedTuple):
    """coefficients [K + E] of model.directions, camera, and common [R]."""

    coefficients: jax.Array
    camera: projection.FrameCamera
    common: jax.Array


class PointFit(NamedTuple):
    """What is known of one frame after its fit.

    Attributes:
        information: [K, K], vector: [K]; the frame's likelihood of the observed shape.
        weight: [] in [0, 1], of the frame as a whole; not yet in information and vector.
        shape: [K] observed shape at the mode; known_shape: [K] the shape that the pose and the
            expression are of: the same, until `at_shape` is told another.
        rotation: [3, 3] canonical to camera axes (x right, y down, z forward).
        translation: [3] mm; a canonical point X is at rotation @ X + translation.
        focal_px: [] pixels.
        yaw_rad: [] to the subject's left; pitch_rad: [] down.
        expression: [E] coefficients; expression_variance: [E].
        common: [R] coefficients of the common errors.
        places: [P, 2] pixels, where the fit puts the points without common errors.
        error_px: [] root mean square of places - measured over seen points, by weight.
        chi2: [] mean of s / 2 over seen points, 1 where precisions and point_level are right.
        inlier_share: [] as above.
        observation: PointObservation that was fitted.
        unknowns: at the mode, in picture units; unit_px: [] pixels of a picture unit.
        coupling: [7 + E + R, K] Hqq^-1 Hqo, how the other unknowns fall as the shape rises.
    """

    information: jax.Array
    vector: jax.Array
    weight: jax.Array
    shape: jax.Array
    known_shape: jax.Array
    rotation: jax.Array
    translation: jax.Array
    focal_px: jax.Array
    yaw_rad: jax.Array
    pitch_rad: jax.Array
    expression: jax.Array
    expression_variance: jax.Array
    common: jax.Array
    places: jax.Array
    error_px: jax.Array
    chi2: jax.Array
    inlier_share: jax.Array
    observation: PointObservation
    unknowns: _Unknowns
    unit_px: jax.Array
    coupling: jax.Array


class _Problem(NamedTuple):
    """The constants of one frame's cost, in picture units of `unit_px` pixels."""

    places: jax.Array
    root: jax.Array  # [P, 2, 2] upper triangular: s = |root r|^2.
    weights: jax.Array
    belief: information.Gaussian
    log_focal_mean: jax.Array
    log_focal_deviation: jax.Array
    unit_px: jax.Array


@functools.partial(jax.jit, inline=True)
def fit_frame(model, belief, observation, settings):
    """Fits one frame at the present belief and reduces it to information about the shape.

    Args:
        model: face_basis.PointModel with K + E directions and R common layouts.
        belief: information.Gaussian of the observed shape, K coefficients.
        observation: PointObservation of P points.
        settings: FitSettings.

    Returns:
        PointFit.

    Raises:
        UserError: the observation has another number of points than the model.
    """
    if observation.places.shape != (len(model.mean), 2):
        raise UserError(
            f'the places of a frame have shape {observation.places.shape}, the face model has '
            f'{len(model.mean)} points: use the network that was trained for this model'
        )
    return fit_looking_again(model, belief, observation, settings, None)


def fit_looking_again(model, belief, observation, settings, look_again):
    """Fits one frame, measures it once more from where the fit puts the points, and fits again.

    Args:
        model, belief, observation, settings: as of `fit_frame`.
        look_again: function of places [P, 2] px that returns the frame's PointObservation as seen
            from there; None: there is no second measurement.

    Returns:
        PointFit.
    """
    with jax.default_matmul_precision('highest'):
        observation = _zero_where_unseen(observation)
        problem, start = _start(model, belief, observation, settings)
        unknowns = _descend(model, problem, start, settings)
        if look_again is not None:
            placed = projection.project(unknowns.camera, _points(model, unknowns.coefficients))
            observation = _zero_where_unseen(look_again(placed * problem.unit_px))
            problem = problem._replace(**_measured(observation, problem.unit_px, settings))
            unknowns = _descend(model, problem, unknowns, settings)
        return _reduce(model, problem, unknowns, observation, settings)


def at_shape(model, fit, shape):
    """Returns a PointFit with pose, camera, expression and places as expected of a shape [K]."""
    num_shape = len(fit.shape)
    step = -fit.coupling @ (shape - fit.shape)
    unknowns = _moved(fit.unknowns, jnp.concatenate([shape - fit.shape, step]), num_shape)
    return fit._replace(**_described(model, unknowns, fit.observation, fit.unit_px, num_shape))


def _zero_where_unseen(observation):
    """Returns the PointObservation with unseen points, which may be anywhere, at zero."""
    seen = observation.weights[:, None] > 0
    return observation._replace(places=jnp.where(seen, observation.places, 0))


def _start(model, belief, observation, settings):
    """Returns the _Problem and the _Unknowns at the weak perspective pose."""
    num_shape = len(belief.mean)
    num_expressions = model.directions.shape[-1] - num_shape
    coefficients = jnp.concatenate([belief.mean, jnp.zeros(num_expressions)])
    scale = jnp.exp(observation.log_focal_mean - settings.log_distance_mean)
    camera = start_pose.start_camera(
        _points(model, coefficients), observation.places, observation.weights, scale, 0.0
    )
    unit_px = jnp.exp(camera.log_scale) * model.width_mm
    log_scale = -jnp.log(model.width_mm)
    log_focal_mean = observation.log_focal_mean - jnp.log(unit_px)
    by_distance = 1 / settings.log_distance_deviation**2
    by_focal = 1 / observation.log_focal_deviation**2
    log_distance = by_distance * settings.log_distance_mean + by_focal * (
        log_focal_mean - log_scale
    )
    camera = camera._replace(
        centre=camera.centre / unit_px,
        log_scale=log_scale,
        log_distance=log_distance / (by_distance + by_focal),
    )
    problem = _Problem(
        **_measured(observation, unit_px, settings),
        belief=belief,
        log_focal_mean=log_focal_mean,
        log_focal_deviation=observation.log_focal_deviation,
        unit_px=unit_px,
    )
    return problem, _Unknowns(coefficients, camera, jnp.zeros(len(model.common)))


def _measured(observation, unit_px, settings):
    """Returns the fields of a _Problem that are measured, a dict."""
    return {
        'places': observation.places / unit_px,
        'root': unit_px * upper_root(observation.precision / settings.point_level),
        'weights': observation.weights,
    }


def upper_root(matrix):
    """Returns the upper triangular U with U' U = matrix of [P, 2, 2]; zero gives zero."""
    first = jnp.sqrt(jnp.maximum(matrix[:, 0, 0], 1e-12))
    mixed = matrix[:, 0, 1] / first
    second = jnp.sqrt(jnp.maximum(matrix[:, 1, 1] - mixed**2, 1e-12))
    return jnp.stack([first, mixed, jnp.zeros_like(first), second], -1).reshape(-1, 2, 2)


def _points(model, coefficients):
    """Returns the points [P, 3] mm, relative to the centre."""
    return model.mean + (model.directions @ coefficients).T


def _common_layout(model, unknowns):
    """Returns the common errors [P, 2] in picture units."""
    scale = jnp.exp(unknowns.camera.log_scale) * model.width_mm
    return scale * jnp.tensordot(unknowns.common, model.common, 1)


def _whitened(problem, differences):
    """Applies the root of the precisions to [P, 2, ...]: [2, P, ...], u rows before v rows."""
    shape = (-1,) + (1,) * (differences.ndim - 2)
    root = problem.root.reshape(-1, 4).T.reshape((4, *shape))
    first, second = differences[:, 0], differences[:, 1]
    return jnp.stack([root[0] * first + root[1] * second, root[3] * second])


def _robust(problem, squared, settings):
    """Returns the losses [P] and the weights [P] of squared whitened residuals [P]."""
    degrees = settings.robust_degrees
    loss = (degrees + 2) * jnp.log1p(squared / degrees)
    return problem.weights * loss, problem.weights * (degrees + 2) / (degrees + squared)


def _frame_prior(problem, unknowns, settings):
    """Returns matrix [F, F] and pull [F] of the priors of camera, expression and common errors.

    A pull is minus the derivative of the cost. The focal length ties log scale to log distance.
    """
    camera = unknowns.camera
    by_focal = 1 / problem.log_focal_deviation**2
    by_distance = 1 / settings.log_distance_deviation**2
    focal_pull = by_focal * (problem.log_focal_mean - camera.log_scale - camera.log_distance)
    distance_pull = by_distance * (settings.log_distance_mean - camera.log_distance)
    free = jnp.concatenate([unknowns.coefficients[len(problem.belief.mean) :], unknowns.common])
    camera_pull = [jnp.zeros(5), jnp.stack([focal_pull, focal_pull + distance_pull])]
    diagonal = [
        jnp.full(5, _FREE_PRECISION),
        jnp.stack([by_focal, by_focal + by_distance]),
        jnp.ones_like(free),
    ]
    matrix = jnp.diag(jnp.concatenate(diagonal)).at[5, 6].set(by_focal).at[6, 5].set(by_focal)
    return matrix, jnp.concatenate([*camera_pull, -free])


def _cost(model, problem, unknowns, settings):
    """Returns the cost of the module's docstring."""
    camera, num_shape = unknowns.camera, len(problem.belief.mean)
    placed = projection.project(camera, _points(model, unknowns.coefficients))
    residual = problem.places - placed - _common_layout(model, unknowns)
    loss, _ = _robust(problem, jnp.sum(_whitened(problem, residual) ** 2, 0), settings)
    shape_off = unknowns.coefficients[:num_shape] - problem.belief.mean
    focal_off = camera.log_scale + camera.log_distance - problem.log_focal_mean
    distance_off = camera.log_distance - settings.log_distance_mean
    return 0.5 * (
        settings.tempering * jnp.sum(loss)
        + shape_off @ problem.belief.information @ shape_off
        + jnp.sum(unknowns.coefficients[num_shape:] ** 2)
        + jnp.sum(unknowns.common**2)
        + (focal_off / problem.log_focal_deviation) ** 2
        + (distance_off / settings.log_distance_deviation) ** 2
    )


def _normal_equations(model, problem, unknowns, settings):
    """Returns normal matrix [N, N] and right-hand side [N] without the belief of the shape."""
    num_shape = len(problem.belief.mean)
    points = _points(model, unknowns.coefficients)
    placed, by_points, by_camera = projection.project_with_derivatives(unknowns.camera, points)
    layout = _common_layout(model, unknowns)
    by_camera = by_camera.at[..., 5].add(layout)
    by_common = jnp.exp(unknowns.camera.log_scale) * model.width_mm * model.common  # [R, P, 2]
    small = jnp.concatenate(
        [
            by_points,
            by_camera,
            by_common.transpose(1, 2, 0),
            (problem.places - placed - layout)[..., None],
        ],
        -1,
    )
    small = _whitened(problem, small)  # [2, P, 3 + 7 + R + 1]
    _, weights = _robust(problem, jnp.sum(small[..., -1] ** 2, 0), settings)
    small = small * jnp.sqrt(settings.tempering * weights + 1e-30)[:, None]
    by_directions = sum(small[..., axis, None] * model.directions[axis] for axis in range(3))
    rows = jnp.concatenate(
        [
            by_directions[..., :num_shape],
            small[..., 3 : 3 + NUM_CAMERA],
            by_directions[..., num_shape:],
            small[..., 3 + NUM_CAMERA :],
        ],
        -1,
    ).reshape(2 * len(points), -1)  # Last column: the residuals.
    product = rows.T @ rows
    prior, pull = _frame_prior(problem, unknowns, settings)
    normal = product[:-1, :-1].at[num_shape:, num_shape:].add(prior)
    return normal, product[:-1, -1].at[num_shape:].add(pull)


def _moved(unknowns, step, num_shape):
    """Moves the unknowns by step [N]."""
    num_expressions = len(unknowns.coefficients) - num_shape
    first, last = num_shape + NUM_CAMERA, num_shape + NUM_CAMERA + num_expressions
    along = jnp.concatenate([step[:num_shape], step[first:last]])
    camera = projection.moved(unknowns.camera, step[num_shape:first])
    return _Unknowns(unknowns.coefficients + along, camera, unknowns.common + step[last:])


def _descend(model, problem, start, settings):
    """Returns the _Unknowns after the damped Gauss-Newton steps."""
    mean, belief_information = problem.belief
    num_shape = len(mean)

    def step(carry):
        unknowns, cost, damping, _ = carry
        normal, right = _normal_equations(model, problem, unknowns, settings)
        normal = normal.at[:num_shape, :num_shape].add(belief_information)
        shape_off = mean - unknowns.coefficients[:num_shape]
        right = right.at[:num_shape].add(belief_information @ shape_off)
        normal = normal + jnp.diag(damping * jnp.diagonal(normal))
        trial = _moved(unknowns, information.solve(information.factor(normal), right), num_shape)
        trial_cost = _cost(model, problem, trial, settings)
        better, stands_still = trial_cost < cost, jnp.abs(trial_cost - cost) < _STANDS_STILL
        unknowns, cost = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (trial, trial_cost), (unknowns, cost)
        )
        damping = damping * jnp.where(better, _DAMPING_DOWN, _DAMPING_UP)
        return unknowns, cost, damping, stands_still

    def step_unless_ended(carry, _):
        return jax.lax.cond(carry[-1], lambda carry: carry, step, carry), None

    cost = _cost(model, problem, start, settings)
    carry = (start, cost, jnp.float32(_START_DAMPING), jnp.bool_(False))
    # A loop of fixed length can be differentiated backwards.
    carry, _ = jax.lax.scan(step_unless_ended, carry, length=settings.num_steps)
    return carry[0]


def _reduce(model, problem, unknowns, observation, settings):
    """Returns the PointFit at the mode."""
    mean, belief_information = problem.belief
    num_shape = len(mean)
    shape, expression = jnp.split(unknowns.coefficients, [num_shape])
    normal, right = _normal_equations(model, problem, unknowns, settings)
    matrix, vector, coupling = information.eliminate(normal, right, num_shape)
    placed = projection.project(unknowns.camera, _points(model, unknowns.coefficients))
    residual = problem.places - placed - _common_layout(model, unknowns)
    squared = jnp.sum(_whitened(problem, residual) ** 2, 0)
    _, robust_weights = _robust(problem, squared, settings)
    count = jnp.sum(problem.weights) + 1e-6
    inlier_share = jnp.sum(robust_weights) / count

    across = information.whiten(
        information.factor(belief_information + normal[:num_shape, :num_shape]),
        normal[:num_shape, num_shape:],
    )
    own = normal[num_shape:, num_shape:] - across.T @ across
    half = information.whiten(information.factor(own), jnp.eye(len(own)))
    variance = jnp.sum(half**2, 0)[NUM_CAMERA : NUM_CAMERA + len(expression)]
    return PointFit(
        information=matrix,
        vector=vector + matrix @ shape,
        weight=jnp.minimum(inlier_share / settings.inlier_cut, 1) ** 2,
        shape=shape,
        expression_variance=variance,
        chi2=jnp.sum(problem.weights * squared) / count / 2,
        inlier_share=inlier_share,
        observation=observation,
        unknowns=unknowns,
        unit_px=problem.unit_px,
        coupling=coupling,
        **_described(model, unknowns, observation, problem.unit_px, num_shape),
    )


def _described(model, unknowns, observation, unit_px, num_shape):
    """Returns the fields of a PointFit that follow from the unknowns alone, a dict."""
    camera = unknowns.camera
    focal = jnp.exp(camera.log_scale + camera.log_distance)
    distance = jnp.exp(camera.log_distance)
    ray = jnp.concatenate([camera.centre / focal, jnp.ones(1)])
    yaw, pitch = projection.angles_rad(camera.rotation)
    placed = unit_px * projection.project(camera, _points(model, unknowns.coefficients))
    weights = observation.weights
    residual = observation.places - placed - unit_px * _common_layout(model, unknowns)
    error = jnp.sum(weights * jnp.sum(residual**2, -1)) / (jnp.sum(weights) + 1e-6)
    return {
        'rotation': camera.rotation,
        'translation': distance * ray - camera.rotation @ model.centre,
        'known_shape': unknowns.coefficients[:num_shape],
        'focal_px': focal * unit_px,
        'yaw_rad': yaw,
        'pitch_rad': pitch,
        'expression': unknowns.coefficients[num_shape:],
        'common': unknowns.common,
        'places': placed,
        'error_px': jnp.sqrt(error + 1e-6),
    }
