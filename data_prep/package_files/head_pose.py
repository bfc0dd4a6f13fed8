"""What the package knows beforehand of heads in photos: how they look on average, how they turn.

python -m data_prep.package_files.head_pose --people=240 --photos=6 --ict_dir=ICT-FaceKit/FaceXModel

writes seqface_jax/photos/head_pose.npz, which the package carries: `looks` and `points`, the mean
brightness and shape of synthetic people in the position map's grid, and two linear regressions from
the oriented gradients of a crop to the pose of its head (`weights`, `bias`), learnt by ridge
regression on photos of synthetic people, half of them made of ICT-FaceKit's face (MIT licence)
where its folder is given.
It says the regressions' errors on people left out. About 15 minutes on one core.
"""

import pathlib
import sys

import numpy as np
from absl import app, flags
from scipy import linalg
from tqdm import tqdm

from data_prep.synthetic import posed_photos
from seqface_jax import errors
from seqface_jax.commands import command_line
from seqface_jax.photos import crops, face_detection, pose_regression

_SHIFT_MM, _SCALE = 8.0, 0.06  # By which crops are moved about: boxes and first answers err.
_RIDGE = 1000.0


def photos(person, count, rng):
    """Yields photos [H, W, 3] uint8 of a Person and the Pose in each."""
    drawn = posed_photos.draw(person, count, rng, pose_regression.CENTRE)
    for photo, transform, camera in drawn:
        middle = np.array([camera.width / 2, camera.height / 2])
        seen_by = pose_regression.Camera(camera.focal, middle)
        yield photo, pose_regression.Pose(transform, seen_by, 1.0)


def examples(people, count, kinds, detector):
    """Yields (stage, crop, answer, person) for both regressions; see pose_regression.answer_of."""
    for number in tqdm(range(people), unit='person', desc='head pose'):
        person, rng = posed_photos.draw_person(number, kinds)
        for photo, truth in photos(person, count, rng):
            found = detector.find(photo)
            squares = [(0, crops.crop_box(found.box))] if found is not None else []
            squares += [(0, moved(square, _SHIFT_MM, _SCALE, rng)) for _, square in squares]
            centred = pose_regression.square_of(truth)
            squares += [(1, moved(centred, _SHIFT_MM, _SCALE, rng)) for _ in range(2)]
            for stage, square in squares:
                yield (
                    stage,
                    pose_regression.crop_of(photo, square),
                    pose_regression.answer_of(truth, square),
                    number,
                )


def moved(square, shift_mm, scale, rng):
    """Returns a square [4] moved by normal steps, mm on the face, and scaled by a normal power."""
    side = square[2] - square[0]
    middle = (square[:2] + square[2:]) / 2 + rng.normal(
        0, shift_mm / pose_regression.SQUARE_MM * side, 2
    )
    half = side / 2 * np.exp(rng.normal(0, scale))
    return np.concatenate([middle - half, middle + half])


def learn(people, count, kinds):
    """Returns the arrays of head_pose.npz and lines that say the errors on people left out."""
    rows = list(examples(people, count, kinds, face_detection.FaceDetector()))
    held_out = int(np.ceil(0.9 * people))
    weights, biases, lines = [], [], []
    for stage in (0, 1):
        own = [row for row in rows if row[0] == stage]
        features = np.concatenate(
            [pose_regression.gradients(np.stack([row[1] for row in own[at : at + 200]])) for at in
             range(0, len(own), 200)]
        )  # fmt: skip
        answers = np.array([row[2] for row in own])
        train = np.array([row[3] for row in own]) < held_out
        fitted = ridge(features[train], answers[train], _RIDGE)
        error = np.abs(features[~train] @ fitted[0] + fitted[1] - answers[~train])
        medians = np.median(error, axis=0) * (
            [180 / np.pi] * 3 + [pose_regression.SQUARE_MM] * 2 + [100]
        )
        lines.append(
            'regression {}: median errors {:.1f}, {:.1f}, {:.1f} degrees about x, y, z, '
            '{:.1f} and {:.1f} mm, {:.1f} % of size'.format(stage + 1, *medians)
        )
        weights.append(fitted[0].astype(np.float16))  # Enough, and half the size.
        biases.append(fitted[1].astype(np.float32))
    drawn = (
        posed_photos.unwrapped(*posed_photos.draw_person(number, kinds))
        for number in range(people // 2)
    )
    looks = np.mean(list(drawn), axis=0)
    arrays = {'weights': np.stack(weights), 'bias': np.stack(biases)}
    shapes = (
        posed_photos.unwrapped_points(posed_photos.draw_person(number, kinds)[0])
        for number in range(people // 2)
    )
    arrays['points'] = np.mean(list(shapes), axis=0)[::2, ::2].astype(np.float16)
    return {**arrays, 'looks': np.round(looks).astype(np.uint8)}, lines


def ridge(features, answers, penalty):
    """Returns the weights [n, K] and bias [K] of a ridge regression of [N, n] to [N, K]."""
    mean, level = features.mean(0), answers.mean(0)
    centred = (features - mean).astype(np.float64)
    gram = centred.T @ centred + penalty * np.eye(features.shape[1])
    weights = linalg.solve(gram, centred.T @ (answers - level), assume_a='pos')
    return weights, level - mean @ weights


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_integer('people', 300, 'How many to draw; a tenth is left out.')
    flags.DEFINE_integer('photos', 10, 'Photos of each person.')
    flags.DEFINE_string('ict_dir', None, "ICT-FaceKit's FaceXModel; half of the people are of it.")


@errors.exit_on_user_error
def main(argv):
    """Learns the mean looks and the first regression, writes head_pose.npz, prints the errors."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    kinds = posed_photos.open_kinds(flags.FLAGS.ict_dir)
    arrays, lines = learn(flags.FLAGS.people, flags.FLAGS.photos, kinds)
    np.savez_compressed(pathlib.Path(pose_regression.__file__).parent / 'head_pose.npz', **arrays)
    sys.stdout.write('\n'.join([*lines, '']))


if __name__ == '__main__':
    define_flags()
    app.run(main, flags_parser=command_line.parse)
