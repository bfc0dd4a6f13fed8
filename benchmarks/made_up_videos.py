"""Draws short videos of made-up people, whose heads turn and whose faces move smoothly.

python -m benchmarks.made_up_videos --face_dir=FaceXModel --people=data/people/kinds.npz
    --out=data/videos.npz

The people are of all kinds that training draws, under soft light before a grey wall. Each frame has
the noise and the compression of a plain picture. `benchmarks.correspondence_memory` reads the file.
"""

import pathlib

import numpy as np
from absl import app, flags
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from data_prep.hard_pictures import camera, people, picture, workers
from seqface_jax import errors, files
from seqface_jax.commands import command_line

_HEAD_CENTER = np.array([0.0, 0.0, 45.0])  # That the head turns about, in its frame, mm.
_TURN_DEG = (5.0, 20.0)  # Range of the amplitude of yaw; that of pitch is a third.
_TURNS = (0.3, 1.0)  # Range of the periods that a video lasts.
_GROWTH, _SHIFT = 0.03, 0.03  # Standard deviations over a video: log of the size, share of a crop.


def draw(world, rng, num_frames):
    """Draws one video.

    Args:
        world: picture.World.
        rng: numpy Generator.
        num_frames: T.

    Returns:
        dict of images [T, S, S, 3] uint8, places [T, P, 2] px and seen [T, P].
    """
    world = world.of_person(*people.sample(world.kinds, rng))
    looks = int(rng.integers(2**31))
    portraits = [
        picture.Portrait(view, expression, looks)
        for view, expression in zip(
            views(camera.sample(rng, plain=True), rng, num_frames),
            expressions(world.kinds.model.expression_names, rng, num_frames),
            strict=True,
        )
    ]
    made = [picture.make(world, rng, plain=True, portrait=one) for one in portraits]
    names = {'images': 'image', 'places': 'places', 'seen': 'seen'}
    return {name: np.array([getattr(one, field) for one in made]) for name, field in names.items()}


def views(first, rng, num_frames):
    """Returns the View of each frame: a head that turns about its centre, and a camera's drift.

    Args:
        first: camera.View about which the head moves.
        rng: numpy Generator.
        num_frames: T.
    """
    yaw = np.radians(rng.uniform(*_TURN_DEG)) * _wave(rng, num_frames)
    pitch = np.radians(rng.uniform(*_TURN_DEG) / 3) * _wave(rng, num_frames)
    growth = np.exp(_GROWTH * rng.standard_normal() * _wave(rng, num_frames))
    drift = _SHIFT * rng.standard_normal(2) * _wave(rng, num_frames)[:, None]
    middle = first.rotation @ _HEAD_CENTER + first.translation
    made = []
    for t in range(num_frames):
        turn = Rotation.from_euler('XY', [-pitch[t], yaw[t]]).as_matrix()
        rotation = first.rotation @ turn
        half = first.half * growth[t]
        center = first.center + drift[t] * half
        made.append(camera.View(rotation, middle - rotation @ _HEAD_CENTER, center, half))
    return made


def expressions(names, rng, num_frames):
    """Returns blendshape weights [T, E] that go from one random expression to another."""
    one, other = people.sample_expression(names, rng), people.sample_expression(names, rng)
    share = 0.5 + 0.5 * _wave(rng, num_frames)[:, None]
    return ((1 - share) * one + share * other).astype(np.float32)


def _wave(rng, num_frames):
    """Returns a sine [T] of a random phase and period."""
    turns = rng.uniform(*_TURNS) * np.arange(num_frames) / num_frames
    return np.sin(2 * np.pi * (rng.random() + turns))


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit.')
    flags.DEFINE_string('people', None, 'File of further kinds of people.')
    flags.DEFINE_string('out', None, 'File to write, .npz.')
    flags.DEFINE_integer('seed', 123, 'Seed of people and pictures.')
    flags.DEFINE_integer('num_people', 400, 'Videos, each of another person.')
    flags.DEFINE_integer('num_frames', 8, 'Frames of each.')


@errors.exit_on_user_error
def main(argv):
    """Writes the file."""
    del argv
    values = flags.FLAGS
    world = workers.load_world(values.face_dir, ('ict', 'makehuman'), values.people)
    videos = [
        draw(world, np.random.default_rng([values.seed, person]), values.num_frames)
        for person in tqdm(range(values.num_people), unit='video')
    ]
    arrays = {name: np.array([one[name] for one in videos]) for name in videos[0]}
    pathlib.Path(values.out).parent.mkdir(parents=True, exist_ok=True)
    files.write_arrays(values.out, arrays)


if __name__ == '__main__':
    define_flags()
    command_line.require(
        face_dir='FaceXModel of ICT-FaceKit',
        people='FILE of template_kinds',
        out='FILE to write, .npz',
    )
    app.run(main, flags_parser=command_line.parse)
