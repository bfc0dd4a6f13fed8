"""Damages made-up pictures and compares the stated confidence with the true error.

python -m benchmarks.doubtful_photos --sequences=data/sequences/ict.npz,data/sequences/embedded.npz

Prints, for each kind of damage and for all, how many pictures are used, the true error of the
fitted face's points where they are seen (median, % of the face's width) of the used and of the
others, and Spearman's rank correlation between confidence and error: -1 where the worst come
lowest.
"""

import collections
import sys
from typing import NamedTuple

import cv2
import numpy as np
from absl import app, flags, logging
from scipy import stats

from seqface_jax import checkpoints, errors, files
from seqface_jax.commands import command_line, compilation_cache
from seqface_jax.photos.turned_crops import Crop
from seqface_jax.reconstruction import flagship, point_reconstructor

_WINDOW = 0.87  # Share of a stored picture's side that training cuts out on average.


class Measured(NamedTuple):
    """One damaged picture: its damage, confidence, true error (of the width), whether used."""

    damage: str
    confidence: float
    error: float
    is_used: bool


def dark(picture, rng):
    """Returns the picture at 2 to 50 % of its light, with noise."""
    noise = rng.normal(0, 4 * rng.random(), picture.shape)
    return picture * np.exp(rng.uniform(np.log(0.02), np.log(0.5))) + noise


def overexposed(picture, rng):
    """Returns the picture too bright by 1.3 to 3.5 times."""
    return picture * rng.uniform(1.3, 3.5) + rng.uniform(0, 100)


def half_dark(picture, rng):
    """Returns the picture with the left or right half in shadow."""
    light = np.ones(picture.shape[1])
    light[: len(light) // 2] = rng.uniform(0.02, 0.3)
    return picture * (light if rng.integers(2) else light[::-1])[:, None]


def blurred(picture, rng):
    """Returns the picture blurred by 0.5 to 6 pixels (standard deviation)."""
    return cv2.GaussianBlur(picture, (0, 0), float(np.exp(rng.uniform(np.log(0.5), np.log(6)))))


def small(picture, rng):
    """Returns the picture as if its side had had 14 to 80 pixels."""
    side = int(rng.integers(14, 80))
    shrunk = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def noisy(picture, rng):
    """Returns the picture with noise of 10 to 90 levels (standard deviation)."""
    return picture + rng.normal(0, np.exp(rng.uniform(np.log(10), np.log(90))), picture.shape)


def occluded(picture, rng):
    """Returns the picture with a plain rectangle of 10 to 50 % of its side over it."""
    half, middle = rng.uniform(0.05, 0.25, 2), rng.uniform(0.2, 0.8, 2)
    low, high = (np.clip((middle + k * half) * len(picture), 0, None).astype(int) for k in (-1, 1))
    covered = picture.copy()
    covered[low[1] : high[1], low[0] : high[0]] = rng.uniform(0, 255, 3)
    return covered


def cut(picture, rng):
    """Returns the picture that ends within the face: 15 to 50 % of one side go on as its rim."""
    turns, rest = int(rng.integers(4)), int(rng.uniform(0.25, 0.6) * len(picture))
    turned = np.rot90(picture, turns).copy()
    turned[:rest] = turned[rest]
    return np.rot90(turned, -turns)


def turned(picture, rng):
    """Returns the picture turned by 20 to 180 degrees to either side, and the [2, 3] matrix."""
    angle = rng.uniform(20, 180) * rng.choice([-1, 1])
    middle = len(picture) / 2 - 0.5
    matrix = cv2.getRotationMatrix2D((middle, middle), angle, 1)
    shape = picture.shape[1::-1]
    return cv2.warpAffine(picture, matrix, shape, borderMode=cv2.BORDER_REPLICATE), matrix


DAMAGES = (dark, overexposed, half_dark, blurred, small, noisy, occluded, cut)


def damaged(picture, places, rng):
    """Yields (name, picture uint8, places [P, 2] px) of a picture [S, S, 3] and its damages."""
    picture = picture.astype(np.float32)
    made = [('none', picture, places)]
    made += [(damage.__name__, damage(picture, rng), places) for damage in DAMAGES]
    shown, matrix = turned(picture, rng)
    moved = (places - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5  # Pixel k's middle is at k + 0.5.
    made.append(('turned', shown, moved))
    for name, shown, true in made:
        yield name, np.ascontiguousarray(np.clip(shown, 0, 255).astype(np.uint8)), true


def measure(stream, picture, true, seen):
    """Returns confidence, true error and whether a picture with its face in the middle is used.

    Args:
        stream: flagship.Stream.
        picture: [S, S, 3] uint8 RGB.
        true: [P, 2] px, where the points are; seen: [P] whether they are seen before the damage.
    """
    size = len(picture)
    sighting = stream.finder.look(picture, Crop(np.full(2, size / 2), _WINDOW * size), rounds=2)
    found = stream.update(stream.initial_state(), picture, sighting)
    outcome = point_reconstructor.Outcome(*found)
    places = np.asarray(outcome.fit.places) + size / 2
    error = np.linalg.norm(places - true, axis=1)[seen].mean() / np.ptp(true[:, 0])
    return outcome.confidence, float(error), outcome.is_convincing


def lines(measured):
    """Returns the table of Measured, a list of str."""
    groups = collections.defaultdict(list)
    for one in measured:
        groups[one.damage].append(one)
    groups['all'] = measured
    table = ['damage        used      error: of used,   of others    rank correlation']
    for name, group in groups.items():
        confidence, error = (np.array([one[k] for one in group]) for k in (1, 2))
        used = np.array([one.is_used for one in group])
        rank = stats.spearmanr(confidence, error).statistic if len(group) > 2 else np.nan
        of_used, of_others = (_median_percent(error[which]) for which in (used, ~used))
        shares = f'{used.sum():4d} of {len(group):4d} {of_used:9.1f} % {of_others:9.1f} %'
        table.append(f'{name:12s} {shares} {rank:22.2f}')
    return table


def _median_percent(values):
    return 100 * np.median(values) if len(values) else np.nan


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_list('sequences', None, 'Files of data_prep.hard_pictures.sequences.')
    flags.DEFINE_string('workdir', None, 'Run of a flagship; the packaged one if left out.')
    flags.DEFINE_integer('num_people', 0, 'Of each file; 0: all. One picture of each.')
    command_line.require(sequences='FILE,FILE, of data_prep.hard_pictures.sequences')


@errors.exit_on_user_error
def main(argv):
    """Measures and prints the table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    compilation_cache.turn_on()
    workdir = flags.FLAGS.workdir or checkpoints.pretrained()
    _, model, variables = checkpoints.load(workdir, 'best_validation')
    geometry = flagship.read_geometry(flagship.geometry_path(workdir))
    stream = flagship.Stream(model, variables, geometry)
    measured = []
    for number, path in enumerate(flags.FLAGS.sequences):
        advice = '`python -m data_prep.hard_pictures.sequences` writes it'
        arrays = files.read_arrays(path, advice, ('images', 'places', 'seen'))
        for person in range(flags.FLAGS.num_people or len(arrays['images'])):
            index = person, 5 * person % len(arrays['images'][person])
            picture, places, seen = (arrays[name][index] for name in ('images', 'places', 'seen'))
            rng = np.random.default_rng([number, person])
            for name, shown, true in damaged(picture, places, rng):
                measured.append(Measured(name, *measure(stream, shown, true, seen)))
    sys.stdout.write('\n'.join([*lines(measured), '']))


if __name__ == '__main__':
    define_flags()
    app.run(main, flags_parser=command_line.parse)
