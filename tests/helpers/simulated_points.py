"""Made-up faces and the points that frames of them show, for tests of the geometric filter."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from seqface_jax.geometric_filter import belief, face_basis, point_fit
from tests.helpers.compiling import quick_jit

NOISE = 0.005  # Standard deviation of each place, in face widths.
SIZE_DEVIATION = 0.04


class World:
    """A size-normalised basis of smooth fields on an ellipsoid with a nose.

    Attributes:
        basis: FaceBasis; model: PointModel; expressions: [E, P, 3] mm; common: [R, P, 2].
    """

    def __init__(self, shapes=24, points=150, expressions=6, common=2, vertices=400, seed=0):
        rng = np.random.default_rng(seed)
        azimuth, height = rng.uniform(-1.4, 1.4, vertices), rng.uniform(-0.95, 0.95, vertices)
        ring = np.sqrt(1 - height**2)
        unit = np.stack([ring * np.sin(azimuth), height, ring * np.cos(azimuth)], 1)
        mean = unit * [72, 100, 80]
        mean[:, 2] += 25 * np.exp(-((unit[:, 0] / 0.15) ** 2) - (unit[:, 1] / 0.25) ** 2)
        self.basis = face_basis.FaceBasis(
            jnp.asarray(mean, jnp.float32),
            jnp.asarray(_smooth_fields(rng, unit, mean, shapes, 2.5), jnp.float32),
            jnp.float32(SIZE_DEVIATION),
        )
        self.indices = np.arange(points)
        self.expressions = _smooth_fields(rng, unit, mean, expressions, 1.5)[:, :points]
        self.common = rng.normal(0, 0.3 * NOISE, (common, points, 2))
        self.model = face_basis.make_point_model(
            self.basis, self.indices, np.zeros((points, 3)), self.expressions, self.common
        )
        self.num_shape, self.num_points = shapes, points

    def person(self, rng):
        """Draws the coefficients [K] of a person."""
        return rng.normal(size=self.num_shape)

    def frame(self, rng, shape, *, yaw_deg=None, noise=NOISE, focal_factor=1.0, outliers=0.0):
        """Draws a PointObservation; `focal_factor` is what the stated focal length is wrong by."""
        vertices = np.asarray(self.basis.mean) + np.tensordot(shape, self.basis.basis, 1)
        points = vertices[self.indices]
        points = points + np.tensordot(rng.normal(size=len(self.expressions)), self.expressions, 1)
        yaw = rng.uniform(-45, 45) if yaw_deg is None else yaw_deg
        angles = [yaw, rng.uniform(-20, 20), rng.normal(0, 8)]
        head = Rotation.from_euler('YXZ', angles, degrees=True)
        turned = np.diag([1, -1, -1]) @ head.as_matrix()
        distance, focal = np.exp(rng.normal(6.5, 0.3)), 1200.0
        centre = np.array([*rng.uniform(-0.1, 0.1, 2) * distance, distance])
        seen = points @ turned.T + centre
        width = focal / distance * float(self.model.width_mm)
        places = focal * seen[:, :2] / seen[:, 2:]
        places += rng.normal(0, noise * width, places.shape)
        places += width * np.tensordot(rng.normal(size=len(self.common)), self.common, 1)
        wild = rng.uniform(size=len(places)) < outliers
        places[wild] += rng.normal(0, 0.15 * width, (wild.sum(), 2))
        outward = (points - points.mean(0)) @ turned.T
        visible = outward[:, 2] < 25
        return make_observation(places, noise * width, visible, np.log(focal * focal_factor))

    def frames(self, rng, shape, count, **options):
        """Draws `count` PointObservations, stacked."""
        return stack([self.frame(rng, shape, **options) for _ in range(count)])

    def initial_state(self):
        """Returns the Belief before the first frame."""
        return belief.initial_state(self.num_shape, self.num_points)


def _smooth_fields(rng, unit, mean, count, deviation_mm):
    """Returns [count, V, 3] mm without shift, turn or change of size of the mean."""
    waves = rng.normal(0, 2.0, (200, 3))
    features = np.cos(unit @ waves.T + rng.uniform(0, 6.3, 200))
    fields = np.einsum('vf,kfc->kvc', features, rng.normal(size=(count, 200, 3)))
    centred = mean - mean.mean(0)
    rigid = [np.tile(row, (len(mean), 1)) for row in np.eye(3)]
    rigid += [np.cross(row, centred) for row in np.eye(3)] + [centred]
    orthonormal = np.linalg.qr(np.reshape(rigid, (7, -1)).T)[0]
    flat = fields.reshape(count, -1)
    flat = flat - (flat @ orthonormal) @ orthonormal.T
    strength = 1 / np.sqrt(1 + np.arange(count))
    strength *= deviation_mm / np.sqrt(np.sum(strength**2))
    flat *= (strength / np.sqrt(np.mean(flat**2, 1) * 3))[:, None]
    return flat.reshape(fields.shape)


def make_observation(places, deviation_px, visible, log_focal, log_focal_deviation=0.3):
    """Returns a PointObservation of equal, round precisions."""
    precision = np.broadcast_to(np.eye(2) / deviation_px**2, (len(places), 2, 2))
    fields = (places, precision, visible, log_focal, log_focal_deviation)
    return point_fit.PointObservation(*(jnp.asarray(field, jnp.float32) for field in fields))


def stack(observations):
    """Stacks PointObservations along a new first axis, without compiling anything."""
    return jax.tree.map(lambda *fields: jnp.asarray(np.stack(fields)), *observations)


def scan_frames(state, model, shared, observations, settings):
    """Gives stacked PointObservations to a Belief one after the other; returns Belief and fits."""

    def step(state, observation):
        state, fit = belief.update(state, model, shared, observation, settings)
        # A thousand frames' matrices would not fit.
        small = fit._replace(information=jnp.zeros(()))
        return state, small

    return jax.lax.scan(step, state, observations)


run = quick_jit(scan_frames)
