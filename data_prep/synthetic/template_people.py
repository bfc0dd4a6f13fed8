"""People of all kinds in one topology: the template's vertices, in mm, in the canonical frame.

The kinds are linear in the fields of one file, which template_kinds.py writes. Every person is
put into the frame by the same rigid motion: the one that brings the face nearest to the
template's mean, size kept.
"""

import contextlib
import functools
import pathlib

import numpy as np

from data_prep.synthetic import identity, makehuman
from data_prep.synthetic.deformation import sample_deformation
from seqface_jax.errors import UserError
from seqface_jax.geometry import alignment, surface

_NAMES = ('ict', 'makehuman', 'embedded')
_ICT_SPREAD = (0.6, 1.8)  # Standard deviation of one person's modes; each person draws one.
_ICT_LARGEST = 3.0  # Modes are cut here.
_EMBEDDED_SPREAD = 0.9
_EMBEDDED_LARGEST = 2.5
# The face counts fully near the nose's tip and fades out where hair and neck begin, mm.
_FULL_MM, _FADE_MM = 55.0, 25.0
_BALL_MM = 12.0  # From an eye hole's rim back to the eyeball's centre.


def kinds():
    """Returns the names of all kinds."""
    return _NAMES


class Kind:
    """One kind of people.

    Attributes:
        name: one of `kinds()`.
        mean: [N, 3] float32 mm, its mean person.
        fields: [K, N, 3] float, mm, so that a person is mean + coefficients @ fields, up to a
            rigid motion.
        deformation_mm: largest standard deviation of the smooth random fields, 0 for none.
    """

    def __init__(self, name, mean, fields, draw, frame, deformation_mm=0.0):
        self.name = name
        self.mean = np.asarray(mean, np.float32)
        self.fields = fields
        self.deformation_mm = deformation_mm
        self._draw, self._frame = draw, frame

    def sample(self, rng):
        """Draws one neutral person, [N, 3] float32 mm."""
        return self.person(self._draw(rng), rng)

    def person(self, coefficients, rng=None):
        """Returns the person of coefficients [K], [N, 3] float32 mm.

        Args:
            coefficients: [K].
            rng: numpy Generator for the smooth random fields; None: without them.
        """
        used = np.flatnonzero(coefficients)
        moved = np.tensordot(
            np.asarray(coefficients, np.float32)[used], np.float32(self.fields[used]), 1
        )
        vertices = self.mean + moved
        if self.deformation_mm and rng is not None:
            deviation = rng.uniform(0.0, self.deformation_mm)
            field = sample_deformation(rng, deviation)
            vertices = vertices + field(vertices, self._frame.eye_centers(vertices))
        return self._frame.align(vertices)


class CoordinateFrame:
    """The canonical frame, as the template's mean defines it.

    Args:
        mean: [N, 3] mm, the template's mean.
        triangles: [F, 3].
        nose_tip: vertex index.
        eye_rims: two arrays of vertex indices.
        pockets: [N] bool, vertices that do not count.
    """

    def __init__(self, mean, triangles, nose_tip, eye_rims, pockets):
        self._mean = np.asarray(mean, np.float64)
        self._eye_rims = eye_rims
        away = np.linalg.norm(self._mean - self._mean[nose_tip], axis=1)
        outside = ~pockets & (surface.vertex_normals(self._mean, triangles)[:, 2] > 0.0)
        corners = self._mean[triangles]
        area = np.linalg.norm(
            np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
        )
        area = np.bincount(triangles.ravel(), np.repeat(area, 3), minlength=len(self._mean))
        weights = outside * area * np.clip((_FULL_MM + _FADE_MM - away) / _FADE_MM, 0.0, 1.0)
        self._weights = weights / weights.sum()

    def eye_centers(self, vertices):
        """Returns the centres of the eyes, a list of [3] float32 mm."""
        return [
            np.float32(vertices[rim].mean(axis=0) - [0.0, 0.0, _BALL_MM]) for rim in self._eye_rims
        ]

    def align(self, vertices):
        """Returns the person moved rigidly so that its face lies nearest to the mean's."""
        used = self._weights > 0
        weights = self._weights[used]
        source, target = vertices[used].astype(np.float64), self._mean[used]
        source_middle, target_middle = weights @ source, weights @ target
        covariance = ((target - target_middle) * weights[:, None]).T @ (source - source_middle)
        u, _, vt = np.linalg.svd(covariance)
        flip = np.diag([1.0, 1.0, np.linalg.det(u @ vt)])
        rotation = u @ flip @ vt
        motion = alignment.RigidTransform(rotation, target_middle - rotation @ source_middle)
        return motion.apply(vertices.astype(np.float64)).astype(np.float32)


def load_kind(name, path, deformation_mm=0.0):
    """Returns one Kind; only its arrays are read.

    Args:
        name: one of `kinds()`.
        path: file that template_kinds.py has written.
        deformation_mm: each person gets smooth random fields whose standard deviation is drawn
            from 0 to this; 3 makes shapes that no model holds and still are faces.

    Raises:
        ValueError: no such kind.
        UserError: the file is missing, or lacks the kind.
    """
    if name not in _NAMES:
        raise ValueError(f'unknown kind {name!r}; the kinds are {", ".join(_NAMES)}.')
    path = pathlib.Path(path)
    try:
        with contextlib.closing(np.load(path)) as arrays:
            frame = CoordinateFrame(
                arrays['template_mean'],
                arrays['template_triangles'],
                arrays['template_landmarks'][30],
                [arrays['left_eye_rim'], arrays['right_eye_rim']],
                arrays['template_pockets'],
            )
            mean, fields, draw = _READERS[name](arrays)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f'{path}: holds no people of the kind {name}; write it with '
            'python -m data_prep.synthetic.template_kinds.'
        ) from error
    return Kind(name, mean, fields, draw, frame, deformation_mm)


def load_kinds(path, held_out=(), deformation_mm=0.0):
    """Returns the Kinds without those held out, whose arrays are not read."""
    unknown = set(held_out) - set(_NAMES)
    if unknown:
        raise ValueError(f'unknown kind {min(unknown)!r}; the kinds are {", ".join(_NAMES)}.')
    return [load_kind(name, path, deformation_mm) for name in _NAMES if name not in held_out]


def _ict(arrays):
    """Returns mean, fields and the way to draw coefficients."""
    fields = arrays['ict_identity']
    return arrays['template_mean'], fields, functools.partial(_draw_ict, len(fields))


def _draw_ict(count, rng):
    """Draws the modes of one person, [count]."""
    spread = rng.uniform(*_ICT_SPREAD)
    return np.clip(spread * rng.standard_normal(count), -_ICT_LARGEST, _ICT_LARGEST)


def _embedded(arrays):
    """Returns mean, fields and the way to draw coefficients."""
    names = [str(name) for name in arrays['embedded_names']]
    difference = np.array([identity.SEX_DIFFERENCE.get(name, 0.0) for name in names])
    draw = functools.partial(_draw_embedded, difference)
    return arrays['embedded_mean'], arrays['embedded_identity'], draw


def _draw_embedded(difference, rng):
    """Draws the parameters of one person, [K], of either sex."""
    sample = _EMBEDDED_SPREAD * rng.standard_normal(len(difference))
    sex = rng.choice([-1.0, 1.0])
    return np.clip(sample, -_EMBEDDED_LARGEST, _EMBEDDED_LARGEST) + sex * difference


def _makehuman(arrays):
    """Returns mean, fields and the way to draw coefficients."""
    names = tuple(str(name) for name in arrays['makehuman_names'])
    deltas = arrays['makehuman_deltas']
    largest = arrays['makehuman_largest']
    mean_weights = arrays['makehuman_mean_weights']

    def draw(rng):
        return makehuman.sample_weights(names, largest, rng) - mean_weights

    return arrays['makehuman_mean'], deltas, draw


_READERS = {'ict': _ict, 'makehuman': _makehuman, 'embedded': _embedded}
