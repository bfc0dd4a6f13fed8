"""What the package knows beforehand of how an unwrapped face looks whose pose is a little off.

python -m data_prep.package_files.pose_refinement --ict_dir=ICT-FaceKit/FaceXModel

writes seqface_jax/models/layers/pose_refinement.npz: linear regressions, one after the other, from
the oriented gradients of the mean face unwrapped at a pose to what that pose lacks
(models/layers/unwrapping.py). The supervised descent method of Xiong and De la Torre, 2013, learnt
by ridge regression on photos of synthetic people, half of them made of ICT-FaceKit's face (MIT
licence) where its folder is given.
It says the errors before and after on people left out. About 10 minutes on two cores.
"""

import functools
import os
import pathlib
import sys

import cv2
import jax
import numpy as np
from absl import app, flags
from tqdm import tqdm

from data_prep.package_files import head_pose
from data_prep.synthetic import posed_photos
from data_prep.work.worker_pool import Workers
from seqface_jax import errors
from seqface_jax.commands import command_line
from seqface_jax.models.layers import unwrapping
from seqface_jax.photos import crops, face_detection, pose_regression

_FIRST = 10_000  # Other people than those that the first regressions are learnt from.
_SHIFT_MM, _SCALE = 4.0, 0.04  # By which a second crop of each photo is moved about.
_LOST = 0.1  # Share of a crop's side: a crop that lies so far off shows something else.
_RIDGE = 0.01  # Ridge as a share of the mean variance of a feature.
_BATCH = 256
_open_kinds = functools.cache(posed_photos.open_kinds)  # Once a process.
# A mirrored face nods as it did, turns and tilts the other way and stands on the other side.
_MIRRORED = np.array([1, -1, -1, -1, 1, 1], np.float32)


def examples(number, count, ict_dir):
    """Returns crops [n, 64, 64, 3] uint8 of a person and what to say of them, [n, 6]."""
    cv2.setNumThreads(1)  # There is one process per core.
    person, rng = posed_photos.draw_person(_FIRST + number, _open_kinds(ict_dir))
    detector = face_detection.FaceDetector()
    pictures, answers = [], []
    for photo, truth in head_pose.photos(person, count, rng):
        found = detector.find(photo)
        if found is None:
            continue
        square = crops.crop_box(found.box)
        for box in (square, head_pose.moved(square, _SHIFT_MM, _SCALE, rng).round()):
            answer = pose_regression.answer_of(truth, np.float64(box))
            if np.abs(answer[3:5]).max() < _LOST:
                pictures.append(crops.cut_out(photo, box, pose_regression.CROP_PX))
                answers.append(answer)
    side = pose_regression.CROP_PX
    return np.array(pictures).reshape(-1, side, side, 3), np.array(answers).reshape(-1, 6)


def learn(crops, answers, is_left_out, count):
    """Fits `count` regressions, each to what those before it leave.

    Args:
        crops: [N, 64, 64, 3] uint8.
        answers: [N, 6], of pose_regression.answer_of.
        is_left_out: [N] bool, of people that are not learnt from.
        count: of regressions.

    Returns:
        dict of weights [count, 2048, 6] float16 and bias [count, 6] float32, and lines that say
        the errors on those left out.
    """
    gray = np.float32(crops).mean(axis=-1) / 255
    gray = np.concatenate([gray, gray[:, :, ::-1]])
    answers = np.concatenate([answers, answers * _MIRRORED])
    learnt_from = np.tile(~is_left_out, 2)
    known, points = unwrapping.regressions(), pose_regression.known()['points'].astype(np.float32)
    start = jax.jit(
        lambda part: unwrapping.regress(part, known['pose_weights'], known['pose_bias'])
    )
    look = jax.jit(lambda part, found: unwrapping.look_at(part, found, points))
    found = _in_batches(start, gray)
    weights, biases = [], []
    lines = [_describe('at first', (found - answers)[~learnt_from])]
    for number in range(count):
        features = _in_batches(look, gray, found)
        own = features[learnt_from]
        penalty = _RIDGE * len(own) * own.var(axis=0).mean()
        fitted = head_pose.ridge(own, (answers - found)[learnt_from], penalty)
        weights.append(fitted[0].astype(np.float16))  # Enough, and half the size.
        biases.append(fitted[1].astype(np.float32))
        found = found + features @ weights[-1].astype(np.float32) + biases[-1]
        lines.append(_describe(f'after regression {number + 1}', (found - answers)[~learnt_from]))
    return {'weights': np.stack(weights), 'bias': np.stack(biases)}, lines


def _in_batches(function, *arrays):
    """Returns what a function of batches says of arrays [N, ...]."""
    parts = range(0, len(arrays[0]), _BATCH)
    return np.concatenate(
        [np.asarray(function(*(array[at : at + _BATCH] for array in arrays))) for at in parts]
    )


def _describe(when, errors):
    units = np.array([180 / np.pi] * 3 + [pose_regression.SQUARE_MM] * 2 + [100])
    numbers = [np.quantile(np.abs(errors), q, axis=0) * units for q in (0.5, 0.95)]
    return (
        '{}: {:.1f}, {:.1f}, {:.1f} degrees about x, y, z, {:.1f} and {:.1f} mm, {:.1f} % of size; '
        '95 % below {:.1f}, {:.1f}, {:.1f}, {:.1f}, {:.1f}, {:.1f}'
    ).format(when, *np.concatenate(numbers))


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_integer('people', 1000, 'How many to draw; a tenth is left out.')
    flags.DEFINE_integer('photos', 8, 'Photos of each person.')
    flags.DEFINE_integer('regressions', 3, 'One after the other.')
    flags.DEFINE_integer('workers', os.cpu_count(), 'Processes that draw people.')
    flags.DEFINE_string('ict_dir', None, "ICT-FaceKit's FaceXModel; half of the people are of it.")


@errors.exit_on_user_error
def main(argv):
    """Learns the later regressions, writes pose_refinement.npz and prints their errors."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    values = flags.FLAGS
    draw = functools.partial(examples, count=values.photos, ict_dir=values.ict_dir)
    with Workers(values.workers) as workers:
        drawn = workers.map(draw, range(values.people))
        drawn = list(tqdm(drawn, total=values.people, unit='person', desc='people'))
    person = np.repeat(range(len(drawn)), [len(crops) for crops, _ in drawn])
    crops, answers = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    arrays, lines = learn(crops, answers, person >= 0.9 * values.people, values.regressions)
    np.savez_compressed(pathlib.Path(unwrapping.__file__).parent / 'pose_refinement.npz', **arrays)
    sys.stdout.write('\n'.join([*lines, '']))


if __name__ == '__main__':
    define_flags()
    app.run(main, flags_parser=command_line.parse)
