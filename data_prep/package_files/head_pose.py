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

import cv2
import numpy as np
from absl import app, flags
from scipy import linalg
from tqdm import tqdm

from data_prep.registration import ray_casting
from data_prep.scans.scan import Scan
from data_prep.synthetic import appearance, expressions, faces, renderer
from data_prep.synthetic.person import Person, rotation_matrix
from data_prep.synthetic.studio import PhotoCamera
from seqface_jax import errors
from seqface_jax.commands import command_line
from seqface_jax.geometry import alignment, map_grid
from seqface_jax.photos import crops, face_detection, pose_regression

_SEED = 20_000  # Other people than those of any raw tree's default seed.
_CAST_FROM_MM = 400.0  # Rays start outside the head.
_HEIGHT_PX, _WIDTH_PX = 256, 224
_DISTANCES_MM = (450.0, 1500.0)  # A selfie to a studio.
_SEEN_MM = (300.0, 420.0)  # Height of the photo at the head.
_TURNS_RAD = np.radians([55.0, 20.0, 15.0])  # Yaw, pitch, roll, either way.
_SHIFT_MM, _SCALE = 8.0, 0.06  # By which crops are moved about: boxes and first answers err.
_RIDGE = 1000.0


class _AllAround:
    """Stands in for a camera: one ray per map pixel, inwards; eyes look ahead."""

    width = height = map_grid.SIZE
    center = np.array([0.0, 30.0, 1000.0])

    def rays(self):
        """Returns [S, S, 6] float32: origin and direction."""
        outward = map_grid.ray_directions()
        return np.concatenate([_CAST_FROM_MM * outward, -outward], axis=-1).astype(np.float32)


def open_kinds(ict_dir):
    """Returns the faces that people are made of: the embedded one, and ICT's where its folder is
    given."""
    kinds = [faces.open_face(faces.EMBEDDED)]
    return kinds + ([faces.open_face('ict', ict_dir)] if ict_dir is not None else [])


def draw_person(number, kinds, seed=_SEED):
    """Returns a Person, made of one of the faces `kinds` in turn, and the rng to go on with."""
    face = kinds[number // 2 % len(kinds)]
    rng = np.random.default_rng([seed, number])
    sex = 'FM'[number % 2]
    looks = appearance.sample_appearance(rng, sex)
    return Person(face.sample_identity(rng, sex), looks, face, fine=False, all_round=True), rng


def unwrapped(person, rng):
    """Returns the brightness of a person at the map's pixels under even light, [S, S] uint8."""
    light = renderer.Lights(
        directions=np.array([[0.0, 0.3, 0.95], [0.0, 0.0, 1.0]], np.float32),
        colors=np.array([[0.5] * 3, [0.1] * 3], np.float32),
        sky=np.full(3, 0.4, np.float32),
        ground=np.full(3, 0.2, np.float32),
        exposure=1.0,
    )
    vertices = person.surface(np.zeros(6), 0.0, np.eye(3), np.zeros(3))
    scene = renderer.make_scene(vertices, person.triangles)
    photo = renderer.Renderer(person, _AllAround(), rng).photo(scene, vertices, light, rng)
    return cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)


def photos(person, count, rng):
    """Yields photos of a person and the Pose in each.

    Yields:
        photo [H, W, 3] uint8 and Pose; heads turn, faces move, lights and distance change.
    """
    distance = np.exp(rng.uniform(*np.log(_DISTANCES_MM)))
    focal = _HEIGHT_PX * distance / rng.uniform(*_SEEN_MM)
    place = np.array([rng.normal(0, 8.0), rng.normal(15.0, 8.0), distance + 60.0])
    camera = PhotoCamera(_WIDTH_PX, _HEIGHT_PX, place, focal)
    photographer = renderer.Renderer(person, camera, rng)
    seen_by = pose_regression.Camera(focal, np.array([_WIDTH_PX / 2, _HEIGHT_PX / 2]))
    for _ in range(count):
        rotation = rotation_matrix(*(rng.uniform(-1, 1, 3) * _TURNS_RAD))
        weights = np.zeros(len(expressions.NAMES), np.float32)
        weights[rng.integers(len(weights))] = max(0.0, rng.uniform(-0.5, 1))
        # The head turns about a point in the neck, the middle of the face stays about in place.
        centre = pose_regression.CENTRE - rotation @ pose_regression.CENTRE
        surface = person.surface(weights, max(0.0, rng.uniform(-3, 1)), rotation, centre)
        scene = renderer.make_scene(surface, person.triangles)
        photo = photographer.photo(scene, surface, renderer.sample_lights(rng), rng)
        transform = alignment.RigidTransform(rotation, centre - place)
        yield photo, pose_regression.Pose(transform, seen_by, 1.0)


def examples(people, count, kinds, detector):
    """Yields (stage, crop, answer, person) for both regressions; see pose_regression.answer_of."""
    for number in tqdm(range(people), unit='person', desc='head pose'):
        person, rng = draw_person(number, kinds)
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
    drawn = (unwrapped(*draw_person(number, kinds)) for number in range(people // 2))
    looks = np.mean(list(drawn), axis=0)
    arrays = {'weights': np.stack(weights), 'bias': np.stack(biases)}
    shapes = (_shape(draw_person(number, kinds)[0]) for number in range(people // 2))
    arrays['points'] = np.mean(list(shapes), axis=0)[::2, ::2].astype(np.float16)
    return {**arrays, 'looks': np.round(looks).astype(np.uint8)}, lines


def _shape(person):
    scan = Scan(np.float32(person.neutral), np.int32(person.model.triangles))
    return ray_casting.position_map(scan)[0]


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
    kinds = open_kinds(flags.FLAGS.ict_dir)
    arrays, lines = learn(flags.FLAGS.people, flags.FLAGS.photos, kinds)
    np.savez_compressed(pathlib.Path(pose_regression.__file__).parent / 'head_pose.npz', **arrays)
    sys.stdout.write('\n'.join([*lines, '']))


if __name__ == '__main__':
    define_flags()
    app.run(main, flags_parser=command_line.parse)
