"""The flagship as photos go in: correspondence network, geometric filter, one state."""

import copy
import functools
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqface_jax import files
from seqface_jax.errors import UserError
from seqface_jax.geometric_filter import belief, expression, face_basis, information, point_fit
from seqface_jax.reconstruction import eye_texture, eye_turns, mouth, quick_compilation
from seqface_jax.reconstruction.rigged_glb import ARKIT_NAMES
from seqface_jax.reconstruction.sighting import FaceFinder

GEOMETRY = 'geometry.npz'  # In a run's workdir, beside its checkpoints.
GEOMETRY_ADVICE = (
    '`python -m data_prep.package_files.calibrate` writes it after training; of a copied run, copy '
    'it too'
)
SIZE_DEVIATION = 0.04  # Relative standard deviation of the size of faces; photos do not tell it.
# Focal length in shares of the photo's longer side, log mean and deviation: 24 to 85 mm lenses.
_FOCAL, _FOCAL_DEVIATION = 1.25, 0.45
# The same of a square cut out around a face, about 250 mm wide: taken from 0.6 to 1.6 m.
_CROP_FOCAL = 4.0
_REFITS = 1  # The corrector looks again, from where the fitted face says the points are.


class Eyes(NamedTuple):
    """The fronts of both eyeballs, which move with the openings and turn, see eye_turns.py.

    Attributes:
        vertices: [N, 3] mm, of the mean face; side: [N] 0 left, 1 right.
        rims: [2, R] face vertices around the openings; rim_mean: [2, 3] mm, their middles on the
            mean face.
    """

    vertices: np.ndarray
    side: np.ndarray
    rims: np.ndarray
    rim_mean: np.ndarray

    def joined(self, face):
        """Returns face [V, 3] mm and its eyes, [V + N, 3] mm."""
        moved = np.asarray(face)[self.rims].mean(1) - self.rim_mean
        return np.concatenate([face, self.vertices + moved[self.side]])


class Geometry(NamedTuple):
    """What the filter knows beforehand, from geometry.npz.

    Attributes:
        basis: face_basis.FaceBasis.
        points: face_basis.PointModel.
        shared: information.SharedError.
        settings: point_fit.FitSettings.
        eyes: Eyes; mouth: mouth.Mouth, the inside of the mouth, or None.
        uv: [V + N, 2] in [0, 1], v up, of the face's vertices and then the eyes'.
        triangles: [F, 3] of face and eyes, landmarks: [68] vertices.
        blendshapes: [S, V + N, 3] mm, and their names; point_blendshapes: [S, P, 3] at the
            points.
        shapes_at_points: [W, P, 3] mm, the model's own blendshapes, before pairs are joined.
        expressions: [E, W] weights of each expression component; expression_mean: [W].
        expression_correction: [E, E + K + 1] of expression.corrected, measured on made-up people.
        band_scale: [] factor on the stated deviations, measured on held-out people.
        point_mirror: [P] the number of each point's mirrored point, or None.
    """

    basis: Any
    points: Any
    shared: Any
    settings: Any
    eyes: Any
    mouth: Any
    uv: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray
    blendshapes: np.ndarray
    point_blendshapes: np.ndarray
    shapes_at_points: np.ndarray
    blendshape_names: tuple
    expressions: np.ndarray
    expression_mean: np.ndarray
    expression_correction: np.ndarray
    band_scale: float
    point_mirror: np.ndarray | None


def read_geometry(path):
    """Reads geometry.npz.

    Raises:
        UserError: it is missing or is something else.
    """
    arrays = files.read_arrays(path, GEOMETRY_ADVICE)
    try:
        return geometry_of(arrays)
    except KeyError as error:
        raise UserError(f'{path} holds no {error} of a geometry: {GEOMETRY_ADVICE}') from error


def geometry_of(arrays):
    """Returns the Geometry of the arrays of shape_space.py and, where measured, of errors.

    Args:
        arrays: dict; `tempering`, `shape_level`, `shared_mean`, `shared_covariance`,
            `shared_gain`, `correlation`, `expression_correction` and `band_scale` may be missing.
    """
    basis = face_basis.make_face_basis(arrays['mean'], arrays['basis'], SIZE_DEVIATION)
    shapes = arrays['blendshapes'].astype(np.float32)
    at_points = shapes[:, arrays['points']]
    names, groups = arkit_groups([str(name) for name in arrays['blendshape_names']])
    blendshapes = groups @ shapes.reshape(len(shapes), -1)
    blendshapes = blendshapes.reshape(len(names), *shapes.shape[1:])
    of_eyes = eye_turns.shifts(arrays['eye_vertices'], arrays['eye_side'], names)
    mixtures = arrays['expression_mixtures']
    points = face_basis.make_point_model(
        basis,
        arrays['points'],
        np.tensordot(arrays['expression_mean'], at_points, 1),
        np.tensordot(mixtures, at_points, 1),
    )
    count = len(arrays['basis'])
    shared = information.make_shared_error(
        arrays.get('shared_mean', np.zeros(count)),
        arrays.get('shared_covariance', np.zeros((count, count))),
        arrays.get('shared_gain', np.ones(count)),
    )
    measured = {
        name: float(arrays[name])
        for name in ('tempering', 'shape_level', 'correlation')
        if name in arrays
    }
    eyes = Eyes(
        arrays['eye_vertices'],
        arrays['eye_side'].astype(np.int64),
        arrays['eye_rims'],
        arrays['mean'][arrays['eye_rims']].mean(1),
    )
    at_rest = eyes.joined(arrays['mean'])
    return Geometry(
        basis,
        points,
        shared,
        point_fit.FitSettings(**measured),
        eyes,
        mouth.make(arrays['triangles'], at_rest, arrays['landmarks']),
        eye_texture.joined_uv(arrays['uv'], arrays['eye_vertices'], arrays['eye_side']),
        np.concatenate([arrays['triangles'], arrays['eye_triangles']]),
        arrays['landmarks'],
        np.concatenate([blendshapes, of_eyes], 1),
        blendshapes[:, arrays['points']],
        at_points,
        names,
        mixtures,
        arrays['expression_mean'],
        arrays.get('expression_correction', np.zeros((len(mixtures), len(mixtures) + count + 1))),
        float(arrays.get('band_scale', 1.0)),
        arrays.get('point_mirror'),
    )


def arkit_groups(names):
    """Joins ICT-FaceKit's blendshapes to ARKit's.

    Args:
        names: [W] of ICT-FaceKit, 'browInnerUp_L' and the like.

    Returns:
        [S] names of ARKit, and [S, W] which blendshapes of the model add up to each.

    Raises:
        UserError: a name is in neither list.
    """
    joined = {}
    for index, name in enumerate(names):
        plain, _, side = name.partition('_')
        sided = plain + {'L': 'Left', 'R': 'Right', '': ''}.get(side, '?')
        found = sided if sided in ARKIT_NAMES else plain
        if found not in ARKIT_NAMES:
            raise UserError(f'the blendshape {name} is none of ARKit: use the geometry as it was')
        joined.setdefault(found, []).append(index)
    groups = np.zeros((len(joined), len(names)), np.float32)
    for row, members in enumerate(joined.values()):
        groups[row, members] = 1
    return tuple(joined), groups


class Lens(NamedTuple):
    """What is known of a photo's camera before a face is seen.

    Attributes:
        middle: [2] px, where the optical axis meets the photo.
        log_focal: of the focal length in px, expected; deviation: its standard deviation.
    """

    middle: np.ndarray
    log_focal: float
    deviation: float


def usual_lens(size):
    """Returns the Lens of a whole photo of (height, width) px: its middle, 24 to 85 mm."""
    return _centred_lens(size, _FOCAL)


def crop_lens(size):
    """Returns the Lens of a photo of which only the square around the face is left, of size px."""
    return _centred_lens(size, _CROP_FOCAL)


def _centred_lens(size, focal):
    height, width = size
    middle = np.array([width / 2, height / 2])
    return Lens(middle, float(np.log(focal * max(height, width))), _FOCAL_DEVIATION)


def observation_of(sighting, lens):
    """Returns the point_fit.PointObservation of a Sighting on a photo with a Lens."""
    precision = np.swapaxes(sighting.factor, -1, -2) @ sighting.factor
    fields = sighting.places - lens.middle, precision, sighting.seen, lens.log_focal, lens.deviation
    return point_fit.PointObservation(*(np.asarray(field, np.float32) for field in fields))


class Stream:
    """Photos of one person -> the person's face: find, fit, look again, fit, add.

    What a photo shows does not depend on the photos before: so copies tell nothing new, and the
    order does not matter.
    """

    def __init__(self, model, variables, geometry, lens_of=usual_lens, *, quick=False):
        """Takes a CorrespondenceNetwork, its variables and a Geometry.

        `lens_of` returns the Lens of a photo of a size (height, width) px, unless one is given.
        `quick` is for few photos, see quick_compilation.py.
        """
        mirror = geometry.point_mirror
        closed_over = f'{model} {None if mirror is None else mirror.tolist()}'
        jit = quick_compilation.jit_of(quick, closed_over)
        self.finder = FaceFinder(model, variables, mirror, jit)
        self.geometry, self._lens_of = geometry, lens_of
        self._fitted = jit(self._fit_with_root)
        self._added, self._posterior = jit(belief.add), jit(belief.posterior)
        self._vertices = jit(face_basis.face_vertices)
        self._deviation = jit(face_basis.vertex_deviation_mm)
        self._expression = jit(_expression)

    def with_geometry(self, geometry):
        """Returns a Stream of another Geometry of the same points; nothing is compiled again."""
        other = copy.copy(self)
        other.geometry = geometry
        other.__dict__.pop('_expressions', None)
        return other

    def initial_state(self):
        """Returns the belief.Belief before the first photo."""
        count, points = self.geometry.basis.basis.shape[0], self.geometry.points.mean.shape[0]
        return belief.initial_state(count, points)

    def update(self, state, photo, sighting, lens=None, refits=_REFITS):
        """Takes one sighting into account.

        Args:
            state: belief.Belief.
            photo: [H, W, 3] uint8 RGB.
            sighting: Sighting on it.
            lens: Lens; that of `lens_of` if left out.
            refits: 1: the corrector looks again, at where the fitted face has the points; or 0.

        Returns:
            belief.Belief, point_fit.PointFit and the Sighting that was used.
        """
        fit, sighting = self.fit(photo, sighting, lens, refits)
        state, fit = self.add(state, fit)
        return state, fit, sighting

    def fit(self, photo, sighting, lens=None, refits=_REFITS):
        """Fits one sighting; arguments are those of `update`.

        Returns:
            point_fit.PointFit and the Sighting that was used.
        """
        own = self.geometry
        lens = self._lens_of(photo.shape[:2]) if lens is None else lens
        observation = observation_of(sighting, lens)
        refits = refits and sighting.view is not None  # None: of a crop that cannot be used.
        again = None
        if refits:
            crop = sighting.crop
            again = sighting.view, np.float32(crop.matrix), np.float32(crop.center - lens.middle)
        known = own.points, own.shared, own.settings
        fit, root = self._fitted(self.finder.variables, *known, observation, again)
        if refits:
            used, factor = jax.device_get((fit.observation, root))
            places = used.places + lens.middle
            sighting = sighting._replace(places=places, factor=factor, seen=used.weights)
        return fit, sighting

    def _fit_with_root(self, *arguments):
        """The fit of a frame, and the point_fit.upper_root of the precision that it used."""
        fit = self._fit_frame(*arguments)
        return fit, point_fit.upper_root(fit.observation.precision)

    def _fit_frame(self, variables, model, shared, settings, observation, again):
        """The fit of a frame: one program for both looks, so that nothing is fetched between."""
        if again is None:
            return belief.fit_alone(model, shared, observation, settings)
        view, matrix, middle = again
        inverse = jnp.linalg.inv(matrix)

        def look_again(places):
            start = (places - middle) @ inverse.T + 0.5
            answer = self.finder.look_again(variables, view, start)
            factor = answer.factor[0] @ inverse
            return observation._replace(
                places=(answer.places[0] - 0.5) @ matrix.T + middle,
                precision=jnp.swapaxes(factor, -1, -2) @ factor,
                weights=jax.nn.sigmoid(answer.seen[0]),
            )

        return belief.fit_alone(model, shared, observation, settings, look_again)

    def add(self, state, fit):
        """Adds what a PointFit says; returns belief.Belief and the PointFit at what it knows."""
        own = self.geometry
        return self._added(state, own.points, own.shared, fit, own.settings)

    def read(self, state):
        """Returns vertices [V + N, 3] mm of face and eyes and standard deviations [V + N] mm."""
        posterior = self.posterior(state)
        return self.vertices(posterior), self.deviation(posterior)

    def posterior(self, state):
        """Returns the information.Posterior of the person's shape."""
        return self._posterior(state, self.geometry.shared, self.geometry.settings)

    def vertices(self, posterior):
        """Returns the vertices [V + N, 3] mm of face and eyes of an information.Posterior."""
        own = self.geometry
        return own.eyes.joined(self._vertices(own.basis, posterior.mean))

    def deviation(self, posterior):
        """Returns the vertices' standard deviations [V + N] mm; takes longer than `vertices`."""
        own = self.geometry
        deviation = self._deviation(own.basis, posterior.mean, posterior.covariance)
        deviation = own.band_scale * np.asarray(deviation)
        of_eyes = deviation[own.eyes.rims].mean(1)[own.eyes.side]
        return np.concatenate([deviation, of_eyes])

    def coefficients(self, state):
        """Returns the coefficients [K] of the person's shape as the network draws it."""
        own = self.geometry
        return np.asarray(belief.observed(state, own.shared, own.settings).mean)

    def distance(self, fit, coefficients):
        """Returns how far what a PointFit says of the shape is from coefficients [K]."""
        off = np.asarray(fit.shape) - coefficients
        return float(off @ np.asarray(fit.information) @ off) / (
            float(np.trace(np.asarray(fit.information))) + 1e-6
        )

    def expression(self, fit):
        """Returns a PointFit's expression.

        Returns:
            [S] weights of the blendshapes in [0, 1], and [V + N, 3] mm, how they move the face.
        """
        shapes = fit.shape, fit.known_shape
        return jax.device_get(self._expression(fit.expression, *shapes, *self._expressions))

    @functools.cached_property
    def _expressions(self):
        own = self.geometry
        known = own.expression_correction, own.expression_mean, own.expressions
        shapes = own.shapes_at_points, own.point_blendshapes, own.blendshapes
        return jax.device_put((*known, *shapes))


def _expression(
    coefficients,
    shape,
    known_shape,
    correction,
    mean,
    mixtures,
    shapes_at_points,
    point_blendshapes,
    blendshapes,
):
    with jax.default_matmul_precision('highest'):
        coefficients = expression.corrected(coefficients, shape - known_shape, correction)
        moved = jnp.tensordot(mean + coefficients @ mixtures, shapes_at_points, 1)
        weights = expression.blendshape_weights(moved, point_blendshapes)
        return weights, jnp.tensordot(weights, blendshapes, 1)


def geometry_path(workdir):
    """Returns where a run's geometry is."""
    return os.path.join(workdir, GEOMETRY)
