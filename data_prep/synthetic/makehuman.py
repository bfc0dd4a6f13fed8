"""Heads of MakeHuman: a base mesh and about 460 targets, linear; made by hand, not from scans.

The MakeHuman project, https://github.com/makehumancommunity/makehuman, base.obj and data/targets,
CC0. The file is a cut of the base mesh at the neck with the targets' displacements there.

A person is base + weights @ targets. The targets `macrodetails/*` depend on race, sex, age,
muscle and weight as in MakeHuman: each one's weight is the product of the shares that its name
holds, and the shares of one factor sum to 1. The others are details, mostly in pairs such as
`nose-hump-decr` and `nose-hump-incr`, which are the two ends of one slider.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from data_prep.synthetic import subdivision, template_transfer
from seqface_jax.errors import UserError

_FILE = 'head.npz'
_LEVELS = 2  # The mesh is made to be subdivided.
_RACES, _SEXES = ('african', 'asian', 'caucasian'), ('female', 'male')
_YOUNG_YEARS, _OLD_YEARS = 25.0, 90.0  # Ages of the targets 'young' and 'old'.
_YEARS = (25.0, 80.0)  # Ages that are drawn.
_RACE_CONCENTRATION = 0.5  # Dirichlet's parameter: some people are of one race, more are mixed.
_ENDS = {
    'decr': 'incr', 'down': 'up', 'in': 'out', 'backward': 'forward', 'concave': 'convex',
    'compress': 'uncompress', '1-l': '1-r', '2-l': '2-r', '3-l': '3-r', '4-l': '4-r',
    '5-l': '5-r', '6-l': '6-r', '7-l': '7-r', '8-l': '8-r',
}  # fmt: skip
# Not drawn: expressions, what moves the head as a whole, and what is below the face.
_NOT_DRAWN = ('expression/', 'macrodetails/', 'head/head-trans', 'neck/', 'asym/asymm-trunk')
_DETAIL_MM = 1.5  # Standard deviation of a slider: its largest displacement at it, mm,
_HEAD_MM = 3.0  # and of those of the whole head,
_LARGEST_DEVIATION = 0.3  # but at most this share of the slider.
_STRONG = 0.06  # Share of sliders that are drawn _STRONG_GAIN times as strongly.
_STRONG_GAIN = 2.5
_LARGEST = 0.9  # Sliders are cut here.
_ASYMMETRIC = 0.25  # Asymmetric share of the standard deviation of a slider that both sides have.
# Landmarks of 300-W on the subject's left half: vertices of the base mesh, whose mean is taken,
# or (x, y) mm where the landmark is seen from the front, from the nose's tip of the mean face.
_NOSE_TIP = 1477
_LANDMARKS = {
    8: [1648], 9: [3765], 22: (11.0, 54.5), 23: (23.0, 57.0), 24: (36.0, 58.0), 25: (47.0, 56.0),
    26: (55.0, 50.5), 27: (0.0, 35.5), 28: (0.0, 24.1), 29: (0.0, 13.4), 30: (0.0, 1.0),
    33: (0.0, -11.8), 34: (5.7, -11.3), 35: (12.2, -10.0), 42: [2288], 43: [2276, 4309],
    44: [2228, 4308], 45: [2243], 46: [4323], 47: [4317, 4318], 51: [455], 52: [2648, 2653],
    53: [3890, 2608], 54: [2623], 55: [2604], 56: [2679, 2673], 57: [492], 62: [474, 520],
    63: [2664, 2700], 64: [2642], 65: [2674], 66: [523],
}  # fmt: skip
_MIRRORED = {
    9: 7, 22: 21, 23: 20, 24: 19, 25: 18, 26: 17, 34: 32, 35: 31, 42: 39, 43: 38, 44: 37, 45: 36,
    46: 41, 47: 40, 52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61, 64: 60, 65: 67,
}  # fmt: skip
_LEFT_EYE_RIM = slice(4302, 4330)  # The loop where the subject's left lids meet the eyeball.
_MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclasses.dataclass(frozen=True)
class MakeHuman:
    """The model.

    Attributes:
        base: [V, 3] float64 mm, of nobody in particular.
        triangles: [F, 3] int32.
        deltas: [K, V, 3] float32 mm, displacement of each target at weight 1.
        names: [K] 'category/name'.
    """

    base: np.ndarray
    triangles: np.ndarray
    deltas: np.ndarray
    names: tuple

    def vertices(self, weights):
        """Returns a person, [V, 3] mm, from the targets' weights [K]."""
        return self.base + np.tensordot(weights, self.deltas, 1)

    def mean_weights(self):
        """Returns the weights [K] of the mean adult: all races and both sexes alike, 38 years."""
        return macro_weights(self.names, np.full(3, 1 / 3), 0.5, 38.0, 0.5, 0.5)

    def sample_weights(self, rng):
        """Draws one adult; returns the targets' weights, [K]."""
        return sample_weights(self.names, self.largest, rng)

    @functools.cached_property
    def largest(self):
        """The largest displacement of each target at weight 1, [K] mm."""
        return np.linalg.norm(self.deltas, axis=2).max(axis=1)


def read(path):
    """Returns the MakeHuman model of head.npz, or of the folder that holds it.

    Raises:
        UserError: the file is missing or is something else.
    """
    path = pathlib.Path(path)
    path = path / _FILE if path.is_dir() else path
    try:
        with np.load(path) as arrays:
            base, triangles, deltas, names = (
                arrays[name] for name in ('vertices', 'triangles', 'deltas', 'names')
            )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f'{path}: is no head of MakeHuman; give the head.npz with vertices, triangles, deltas '
            'and names.'
        ) from error
    if deltas.shape != (len(names), len(base), 3) or triangles.max(initial=0) >= len(base):
        raise UserError(f'{path}: its arrays do not belong together; copy the whole head.npz.')
    return MakeHuman(
        base=base.astype(np.float64),
        triangles=triangles.astype(np.int32),
        deltas=deltas.astype(np.float32),
        names=tuple(str(name) for name in names),
    )


def sample_weights(names, largest, rng):
    """Draws one adult; returns the targets' weights, [K].

    Args:
        names: [K] of the targets.
        largest: [K] mm, see `MakeHuman.largest`.
        rng: numpy Generator.
    """
    weights = macro_weights(names, **sample_macros(rng))
    place = {name: k for k, name in enumerate(names)}
    for slider in sliders(names):
        first = slider[0][0] or slider[0][1]
        wanted = _HEAD_MM if first.startswith('head/') else _DETAIL_MM
        deviation = min(wanted / max(largest[place[first]], 1e-6), _LARGEST_DEVIATION)
        if rng.random() < _STRONG:
            deviation *= _STRONG_GAIN
        both, apart = deviation * rng.standard_normal(2)
        for ends, sign in zip(slider, (1.0, -1.0), strict=False):
            value = np.sqrt(1 - _ASYMMETRIC**2) * both + sign * _ASYMMETRIC * apart
            end = ends[int(value > 0)]
            if end is not None:
                weights[place[end]] = min(abs(value), _LARGEST)
    return weights


def sample_macros(rng):
    """Draws race, sex, age, muscle and weight of one adult; the arguments of `macro_weights`."""
    male = float(rng.random() < 0.5)
    soft = min(abs(rng.normal(0.0, 0.15)), 0.5)  # Few people are wholly like one of the two.
    return {
        'races': rng.dirichlet(np.full(3, _RACE_CONCENTRATION)),
        'male': abs(male - soft),
        'years': _YEARS[0] + (_YEARS[1] - _YEARS[0]) * rng.beta(1.0, 1.6),
        'muscle': float(np.clip(rng.normal(0.5, 0.2), 0.0, 1.0)),
        'weight': float(np.clip(rng.normal(0.5, 0.2), 0.0, 1.0)),
    }


def macro_weights(names, races, male, years, muscle, weight):
    """Returns the weights [K] of the targets `macrodetails/*`, 0 for all others.

    Args:
        names: [K] of the targets.
        races: [3] shares of african, asian and caucasian; they sum to 1.
        male: 0 is female, 1 is male.
        years: age, 25 to 90.
        muscle, weight: 0 is least, 0.5 average, 1 most.

    Raises:
        ValueError: the age is none of an adult.
    """
    if not _YOUNG_YEARS <= years <= _OLD_YEARS:
        raise ValueError(f'an adult has {_YOUNG_YEARS:.0f} to {_OLD_YEARS:.0f} years, got {years}.')
    old = (years - _YOUNG_YEARS) / (_OLD_YEARS - _YOUNG_YEARS)
    shares = dict(zip(_RACES, races, strict=True)) | {'universal': 1.0}
    shares |= {'female': 1 - male, 'male': male, 'young': 1 - old, 'old': old}
    for factor, value in (('muscle', muscle), ('weight', weight)):
        low, high = max(1 - 2 * value, 0.0), max(2 * value - 1, 0.0)
        shares |= {f'min{factor}': low, f'max{factor}': high, f'average{factor}': 1 - low - high}
    weights = np.zeros(len(names))
    for k, name in enumerate(names):
        category, _, rest = name.partition('/')
        if category == 'macrodetails':  # Babies and children have no share.
            weights[k] = np.prod([shares.get(word, 0.0) for word in rest.split('-')])
    return weights


@functools.lru_cache(maxsize=2)
def sliders(names):
    """Returns the details that are drawn as sliders.

    Args:
        names: tuple of all targets' names.

    Returns:
        list of tuples, one per slider, of one or two (for the subject's left and right) pairs of
        target names: of the lower and of the upper end. None is an end without target.
    """
    details = [name for name in names if not name.startswith(_NOT_DRAWN)]
    known, used, found = set(details), set(), []
    for name in details:
        if name in used:
            continue
        pairs = [_ends(name, known)]
        other = tuple(end and end.replace('/l-', '/r-') for end in pairs[0])
        if '/l-' in name and all(end is None or end in known for end in other):
            pairs.append(other)
        found.append(tuple(pairs))
        used |= {end for pair in pairs for end in pair}
    return found


def _ends(name, known):
    """Returns the names of a slider's lower and upper end, one of which is `name`."""
    for low, high in _ENDS.items():
        for this, other, swap in ((low, high, False), (high, low, True)):
            partner = f'{name.removesuffix(this)}{other}'
            if name.endswith(f'-{this}') and partner in known:
                return (partner, name) if swap else (name, partner)
    return None, name


def surface_matrix(model):
    """Returns the matrix [V', V] from the model's vertices to its smooth surface, and triangles."""
    return subdivision.loop_matrix(len(model.base), model.triangles, _LEVELS)


def landmark_points(model, mean, matrix, triangles):
    """Returns {landmark: [3] mm} and the rims of the eye holes on the mean person's surface.

    Args:
        model: MakeHuman.
        mean: [V, 3] mm, its mean person, upright and frontal as in the file.
        matrix, triangles: of `surface_matrix`.
    """
    fine = matrix @ mean
    surface = template_transfer.CastSurface(fine, triangles)
    points = {}
    for landmark, place in _LANDMARKS.items():
        if isinstance(place, tuple):
            x, y = place[0], place[1] + mean[_NOSE_TIP, 1]
            points[landmark] = surface.hits(np.array([[x, y, 1e3, 0.0, 0.0, -1.0]]))[0]
        else:
            points[landmark] = fine[place].mean(axis=0)
        if landmark in _MIRRORED:
            points[_MIRRORED[landmark]] = points[landmark] * _MIRROR
    rim = fine[_LEFT_EYE_RIM]
    return points, [rim, rim * _MIRROR]
