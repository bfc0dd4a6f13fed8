"""Measures the flagship's errors on made-up people that it did not learn from.

python -m data_prep.package_files.calibrate --workdir=runs/cpu --space=shape_space.npz
    --sequences=ict.npz,makehuman.npz [--test=embedded.npz]

From people of some kinds it learns how much a picture's points are worth, whose errors go together,
how far people lie from the mean face, how expressions are corrected, and how wide the stated band
must be. What has to be chosen is tried on the kind that it was not learnt from: one file holds one
kind. All are written, with the shape space, to the run's geometry.npz. Then it prints errors by
kind, of the kinds of `--test` too, of which nothing is learnt: of the neutral face, of the pose,
and of the strongest quarter of the expressions.

`--space` may be a geometry.npz too: what was measured before is taken out of it. Without
`--sequences` nothing is written, and the errors are those by `--space` as it is.
"""

import itertools
import sys
from typing import NamedTuple

import jax
import numpy as np
from absl import app, flags

from data_prep.package_files import expression_correction, expression_error, shared_error
from seqface_jax import checkpoints, errors, files
from seqface_jax.commands import command_line, compilation_cache
from seqface_jax.geometric_filter import belief, information
from seqface_jax.geometry import alignment, surface
from seqface_jax.photos.turned_crops import Crop
from seqface_jax.reconstruction import flagship

_COUNTS = (1, 2, 4, 8, 16)
FOCAL_DEVIATION = 0.3  # Standard deviation of the log of a guessed focal length.
_WINDOW = 0.87  # Share of a stored picture's side that training cuts out on average.
# Shares of what the points would be worth if their errors were independent, tried one by one.
TEMPERINGS = (1.0, 0.3, 0.1)
_AS_GOOD = 0.01  # What differs by less, as a share of the mean face's error, is as good.
# Deviations of people's coefficients, in those of the shape space: other kinds lie farther out.
SPREADS = (1.0, 1.2, 1.4)
# What is added here to the arrays of a shape space.
_MEASURED = (
    'tempering', 'spread', 'shared_gain', 'shared_mean', 'shared_covariance', 'band_scale',
    'expression_correction',
)  # fmt: skip
_FOLDS = 2  # Where there is one kind: what is learnt from some people is tried on the others.
_QUANTILE = 0.9  # Share of true coordinates that the stated band shall hold.


def sight(finder, image):
    """Returns the Sighting of a stored picture, whose face is in its middle; off the device."""
    size = len(image)
    crop = Crop(np.array([size / 2, size / 2]), _WINDOW * size)
    sighting = finder.look(image, crop, rounds=2)
    return sighting._replace(view=jax.device_get(sighting.view))


def see(finder, arrays):
    """Adds `sightings`, a list of lists of Sightings, to the arrays of sequences.py."""
    seen = [[sight(finder, image) for image in images] for images in arrays['images']]
    return arrays | {'sightings': seen}


def point_error(arrays):
    """Returns the mean error of the points that are seen, % of the crop's side."""
    off = []
    for sightings, places, shown in zip(
        arrays['sightings'], arrays['places'], arrays['seen'], strict=True
    ):
        for sighting, true, seen in zip(sightings, places, shown, strict=True):
            error = np.linalg.norm(sighting.places - true, axis=1)[seen]
            off += (100 * error / (_WINDOW * arrays['images'].shape[2])).tolist()
    return float(np.mean(off))


def run_people(stream, arrays, counts=_COUNTS, refits=1):
    """Streams each person; returns a list of dicts of what is said after each count.

    Args:
        stream: flagship.Stream.
        arrays: of sequences.py, seen.
        counts: numbers of pictures.
        refits: as of `Stream.update`.

    Returns:
        a dict for each person: what `said` returns by count, as far as there are pictures, and
        `fits`, a list of point_fit.PointFit of each picture.
    """
    out = []
    rng = np.random.default_rng(0)
    for person, sightings in enumerate(arrays['sightings']):
        state, after = stream.initial_state(), {'fits': []}
        for number, sighting in enumerate(sightings[: max(counts)], start=1):
            lens = lens_of(arrays, person, number - 1, rng)
            image = arrays['images'][person, number - 1]
            state, fit, _ = stream.update(state, image, sighting, lens, refits)
            after['fits'].append(fit)
            if number in counts:
                after[number] = said(stream, state)
        out.append(after)
    return out


def lens_of(arrays, person, number, rng):
    """Returns the flagship.Lens of a made-up picture, known as well as that of a photo is."""
    focal = np.log(arrays['focal'][person, number]) + rng.normal(0, FOCAL_DEVIATION)
    return flagship.Lens(arrays['middle'][person, number], focal, FOCAL_DEVIATION)


def said(stream, state):
    """Returns what a belief.Belief's pictures say, off the device: information [K, K], vector [K].

    It is a thirtieth of the state, and there may be hundreds of people.
    """
    return jax.device_get(belief.evidence(state, stream.geometry.settings))


def read(stream, evidence):
    """Returns vertices [V, 3] mm and deviations [V] mm of what is `said`, without the eyes."""
    count = len(stream.geometry.basis.mean)  # The eyes come after the face.
    posterior = _posterior(*evidence, stream.geometry.shared)
    return stream.vertices(posterior)[:count], stream.deviation(posterior)[:count]


@jax.jit
def _posterior(matrix, vector, shared):
    with jax.default_matmul_precision('highest'):
        return information.person(information.observed(matrix, vector, shared), shared)


def aligned_error(vertices, truth, near, scaled=False):
    """Aligns vertices to the true ones, rigidly or with one scale, by those of `near`.

    Returns:
        distances [near] mm of the aligned vertices to the true ones, and all aligned vertices
        [V, 3] mm.
    """
    fit = alignment.umeyama if scaled else alignment.kabsch
    found = fit(vertices[near].astype(float), truth[near].astype(float))
    if scaled:
        scale, rotation, shift = found
        placed = scale * vertices @ rotation.T + shift
    else:
        rotation, shift = found
        placed = vertices @ rotation.T + shift
    return np.linalg.norm((placed - truth)[near], axis=1), placed


def surface_error(placed, truth, near, triangles):
    """Returns the mean distance of aligned vertices from the true ones along the true normals, mm.

    What is left of `aligned_error` where points only slide along the skin, which shows in no scan:
    on a smooth cheek nothing tells where a kind's registration puts them.
    """
    normals = surface.vertex_normals(truth, triangles[(triangles < len(truth)).all(1)])
    return np.abs(((placed - truth) * normals)[near].sum(1)).mean()


def report(name, stream, people, arrays, space):
    """Prints a kind's errors: mm by number of pictures, beside mean faces, and the band.

    Args:
        name: of the kind.
        stream: flagship.Stream.
        people: of `run_people`; arrays: of sequences.py, with `near`.
        space: arrays of shape_space.py.
    """
    truths, near = arrays['faces'], np.asarray(arrays['near'])

    def errors_of(faces):
        """Returns the mean errors (vertices, up to scale, along the normals) as text; placed."""
        rows, all_placed = [], []
        for face, truth in zip(faces, truths, strict=True):
            error, placed = aligned_error(face, truth, near)
            free, _ = aligned_error(face, truth, near, scaled=True)
            along = surface_error(placed, truth, near, space['triangles'])
            rows.append((error.mean(), free.mean(), along))
            all_placed.append(placed)
        return '{:.2f} ({:.2f}, {:.2f})'.format(*np.mean(rows, 0)), np.array(all_placed)

    fixed, own = (errors_of([mean] * len(truths))[0] for mean in (space['mean'], truths.mean(0)))
    line = f'{name}: {len(truths)} people, vertex_mm (up to scale, rigid along the normals)'
    line += f' mean face {fixed}, own {own};'
    for count in _COUNTS:
        if count not in people[0]:
            continue
        faces, deviations = zip(*(read(stream, after[count]) for after in people), strict=True)
        told, placed = errors_of(faces)
        band = 1.645 * np.array(deviations)[:, near, None] / np.sqrt(3)
        inside = (np.abs(placed - truths)[:, near] < band).mean()
        line += f' {count}: {told}, band {inside:.2f};'
    _say(line)
    angles = []
    for after, true in zip(people, arrays['rotation'], strict=True):
        for fit, wanted in zip(after['fits'], true, strict=False):
            cosine = (np.trace(fit.rotation @ wanted.T) - 1) / 2
            angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    median, high = np.percentile(angles, [50, 90])
    _say(f'   head turned wrongly by {median:.2f} deg (median), {high:.2f} (90th percentile)')


def report_expressions(stream, people, arrays, mean_face):
    """Prints how much of the strongest expressions' movement is found, and what is left in mm.

    Args:
        stream, people, mean_face: as of `report`.
        arrays: of sequences.py, with `near` and `blendshapes` [W, V, 3] of shape_space.py.
    """
    shapes = stream.geometry.blendshapes[:, : len(mean_face)]
    true_shapes = arrays['blendshapes'].astype(np.float32)
    rows = []
    for after, truth, true in zip(people, arrays['faces'], arrays['expressions'], strict=True):
        neutral, _ = read(stream, after[max(count for count in _COUNTS if count in after)])
        for fit, wanted in zip(after['fits'], true, strict=False):
            moved = np.tensordot(wanted, true_shapes, 1)
            weights, _ = stream.expression(fit)
            rows.append((neutral, np.tensordot(weights, shapes, 1), truth, moved))
    columns = (np.array(own, np.float32) for own in zip(*rows, strict=True))
    own = expression_error.measure(*columns, arrays['near'], mean_face)
    _say(
        f'   strongest quarter of expressions, {own.moved_mm:.2f} mm: {own.found:.0%} of the '
        f'movement found; frame_mm {own.frame_mm:.2f}, neutral {own.neutral_mm:.2f}, '
        f'mean face {own.mean_mm:.2f}'
    )


def _say(line):
    """Writes a line of what the command tells, at once."""
    sys.stdout.write(line + '\n')
    sys.stdout.flush()


class SeenPerson(NamedTuple):
    """A made-up person whose pictures were seen.

    Attributes:
        kind: number of the file of the person.
        said: what the pictures say, by their number.
        face: [V, 3] mm, truth: [K] its coefficients.
    """

    kind: int
    said: dict
    face: np.ndarray
    truth: np.ndarray

    @property
    def said_by_all(self):
        """What all pictures together say."""
        return self.said[max(self.said)]


def gather(stream, training, arrays):
    """Returns the SeenPersons of the training kinds.

    Args:
        stream: flagship.Stream that knows of no shared error.
        training: list of arrays of sequences.py, seen.
        arrays: of shape_space.py.
    """
    made = []
    for kind, one in enumerate(training):
        truths = shared_error.coefficients(
            one['faces'], arrays['mean'], arrays['basis'], arrays['near']
        )
        for after, face, truth in zip(run_people(stream, one), one['faces'], truths, strict=True):
            by_count = {count: after[count] for count in _COUNTS if count in after}
            made.append(SeenPerson(kind, by_count, face, truth))
    return made


def measured(people):
    """Returns the arrays of the shared error of SeenPersons, a dict."""
    matrices, vectors = (
        np.array(part, np.float64)
        for part in zip(*(one.said_by_all for one in people), strict=True)
    )
    truths = np.array([one.truth for one in people])
    gain, mean, covariance = shared_error.measure(matrices, vectors, truths)
    return {'shared_gain': gain, 'shared_mean': mean, 'shared_covariance': covariance}


def widened(people, arrays, spread):
    """Returns SeenPersons and arrays in units that are `spread` times as large."""
    people = [
        one._replace(
            said={
                count: (spread**2 * matrix, spread * vector)
                for count, (matrix, vector) in one.said.items()
            },
            truth=one.truth / spread,
        )
        for one in people
    ]
    basis = (spread * arrays['basis']).astype(arrays['basis'].dtype)
    return people, arrays | {'basis': basis, 'spread': np.float32(spread)}


def shape_space(arrays):
    """Returns the arrays of a geometry without what was measured before."""
    basis = (arrays['basis'] / arrays.get('spread', 1)).astype(arrays['basis'].dtype)
    return {name: own for name, own in arrays.items() if name not in _MEASURED} | {'basis': basis}


def crossed(people, arrays, stream_of):
    """Yields each SeenPerson with the Stream whose shared error was learnt from other kinds.

    What is learnt of a kind tells that kind from others: it must not be tried on the same. Of one
    kind alone, it is learnt from the other half of the people.
    """
    folds = np.array([one.kind for one in people])
    if len(set(folds)) == 1:
        folds = np.arange(len(people)) % _FOLDS
    for fold in np.unique(folds):
        is_left_out = folds == fold
        stream = stream_of(arrays | measured(list(itertools.compress(people, ~is_left_out))))
        for one in itertools.compress(people, is_left_out):
            yield one, stream


def relative_error(people, arrays, stream_of):
    """Returns the mean error as a share of the mean face's, over kinds.

    Up to scale, which photos do not tell; after one picture and after all, equally.
    """
    near = arrays['near']
    shares = [([], []) for _ in range(1 + max(one.kind for one in people))]
    for one, stream in crossed(people, arrays, stream_of):
        own, fixed = shares[one.kind]
        fixed.append(aligned_error(arrays['mean'], one.face, near, scaled=True)[0].mean())
        after = (one.said[min(one.said)], one.said_by_all)
        faces = [read(stream, evidence)[0] for evidence in after]
        own.append(np.mean([aligned_error(face, one.face, near, scaled=True)[0] for face in faces]))
    return float(np.mean([np.mean(own) / np.mean(fixed) for own, fixed in shares]))


def most_careful(tried):
    """Returns the last of what is as good as the best, to a hundredth of the mean face's error.

    Made-up pictures are easier than photographs: where they hardly tell, points count for less.

    Args:
        tried: list of (score, ...) in the order of TEMPERINGS, the most trusting first.
    """
    least = min(one[0] for one in tried)
    return [one for one in tried if one[0] < least + _AS_GOOD][-1]


def calibrated(arrays, stream_of, training):
    """Returns the shape space's arrays with what was measured on training kinds added.

    Args:
        arrays: of shape_space.py.
        stream_of: function of such arrays that returns a flagship.Stream.
        training: list of arrays of sequences.py, seen.
    """
    near, tried = arrays['near'], []
    for tempering in TEMPERINGS:
        own = arrays | {'tempering': np.float32(tempering)}
        people = gather(stream_of(own), training, own)
        spreads = []
        for spread in SPREADS:
            spread_out, space = widened(people, own, spread)
            score = relative_error(spread_out, space, stream_of)
            _say(f'tempering {tempering}, spread {spread}: {score:.3f} of the mean face')
            spreads.append((score, space, spread_out))
        tried.append(min(spreads, key=lambda one: one[0]))
    _, arrays, people = most_careful(tried)
    ratios = []
    for one, stream in crossed(people, arrays, stream_of):
        for evidence in one.said.values():
            vertices, deviation = read(stream, evidence)
            _, placed = aligned_error(vertices, one.face, near)
            ratios.append(np.abs(placed - one.face)[near] / (deviation[near, None] / np.sqrt(3)))
    wide = np.quantile(np.concatenate(ratios), _QUANTILE) / 1.645
    return arrays | measured(people) | {'band_scale': np.float32(wide)}


def corrected_expressions(arrays, geometry, training):
    """Returns the arrays with what was measured of expressions on training kinds added.

    Args:
        arrays: of shape_space.py, with the shared error.
        geometry: flagship.Geometry of them.
        training: list of what `run_people` returned and of the arrays that it was of.
    """
    found, off, movements = [], [], []
    for people, one in training:
        for after, true in zip(people, one['expressions'], strict=True):
            for fit, wanted in zip(after['fits'], true, strict=False):
                found.append(np.asarray(fit.expression))
                off.append(np.asarray(fit.shape - fit.known_shape))
                movements.append(np.tensordot(wanted, geometry.shapes_at_points, 1))
    movements = np.array(movements, np.float32)
    correction = expression_correction.measure(found, off, movements, geometry)
    return arrays | {'expression_correction': correction.astype(np.float32)}


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('workdir', None, 'Run of the correspondence network.')
    flags.DEFINE_string('space', None, 'File of shape_space.py.')
    flags.DEFINE_list('sequences', [], 'Files of sequences.py to learn from.')
    flags.DEFINE_list('test', [], 'Files of sequences.py to measure on only.')


@errors.exit_on_user_error
def main(argv):
    """Measures, writes geometry.npz, prints."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    compilation_cache.turn_on()
    _, model, variables = checkpoints.load(flags.FLAGS.workdir, 'best_validation')
    advice = '`python -m data_prep.hard_pictures.shape_space` writes it'
    arrays = files.read_arrays(flags.FLAGS.space, advice)

    learnt_from, test = flags.FLAGS.sequences, flags.FLAGS.test
    if learnt_from:
        arrays = shape_space(arrays)
    first = flagship.Stream(model, variables, flagship.geometry_of(arrays))

    def stream_of(own):
        return first.with_geometry(flagship.geometry_of(own))

    measured = {path: see(first.finder, read_sequences(path)) for path in (*learnt_from, *test)}
    for path, one in measured.items():
        _say(f'{path}: points are off by {point_error(one):.2f} % of the crop')
    if learnt_from:
        arrays = calibrated(arrays, stream_of, [measured[path] for path in learnt_from])
    stream = stream_of(arrays)
    people = {path: run_people(stream, one) for path, one in measured.items()}
    if learnt_from:
        training = [(people[path], measured[path]) for path in learnt_from]
        arrays = corrected_expressions(arrays, stream.geometry, training)
        stream = stream_of(arrays)
        files.write_arrays(flagship.geometry_path(flags.FLAGS.workdir), arrays, compressed=True)
    for path, one in measured.items():
        one = one | {own: arrays[own] for own in ('near', 'blendshapes')}
        title = f'{path} (learnt from)' if path in learnt_from else path
        report(title, stream, people[path], one, arrays)
        report_expressions(stream, people[path], one, arrays['mean'])


def read_sequences(path):
    """Reads a file of sequences.py, {name: array}; raises UserError where it is none of today."""
    advice = '`python -m data_prep.hard_pictures.sequences` writes it'
    arrays = files.read_arrays(path, advice)
    if not {'images', 'expressions'} <= set(arrays):
        raise errors.UserError(f'{path} is no file of pictures of today: draw it again, {advice}')
    return arrays


if __name__ == '__main__':
    define_flags()
    command_line.require(workdir='RUN, the folder of a flagship', space='FILE of shape_space')
    app.run(main, flags_parser=command_line.parse)
