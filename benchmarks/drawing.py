"""How many hard pictures one core draws in a second, and the memory that it takes.

python -m benchmarks.drawing --face_dir=FaceXModel --people=data/people/kinds.npz

Training draws 60,000 of them: this is what the hours before it go into. One process, one core.
"""

import json
import sys
import time
from typing import NamedTuple

import numpy as np
from absl import app, flags

from benchmarks import race
from seqface_jax import errors


class DrawingTimes(NamedTuple):
    """What drawing took.

    Attributes:
        pictures_a_cpu_second: float.
        start_cpu_seconds: float, to load the people and their things.
        p90_seconds: float, CPU seconds of the slowest tenth begin here.
        peak_mb: float.
    """

    pictures_a_cpu_second: float
    start_cpu_seconds: float
    p90_seconds: float
    peak_mb: float


def measure(load, make, count):
    """Draws pictures and takes the time.

    Args:
        load: function without arguments that returns a world.
        make: function of a world and a numpy Generator that draws one picture.
        count: pictures.
    """
    begin = time.process_time()
    world = load()
    start = time.process_time() - begin
    make(world, np.random.default_rng(count))  # Caches fill.
    taken = []
    for number in range(count):
        begin = time.process_time()
        make(world, np.random.default_rng(number))
        taken.append(time.process_time() - begin)
    p90 = float(np.percentile(taken, 90))
    return DrawingTimes(count / max(sum(taken), 1e-9), start, p90, race.peak_mb())


def draw(world, rng):
    """Draws a person and a picture of theirs."""
    from data_prep.hard_pictures import people, picture

    return picture.make(world.of_person(*people.sample(world.kinds, rng)), rng)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('face_dir', None, 'FaceXModel of ICT-FaceKit.')
    flags.DEFINE_string('people', None, 'File of further kinds of people; none if left out.')
    flags.DEFINE_integer('num_pictures', 30, 'Pictures.', lower_bound=1)


@errors.exit_on_user_error
def main(argv):
    """Measures and prints the table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    import cv2

    from data_prep.hard_pictures import workers

    cv2.setNumThreads(1)
    values = flags.FLAGS
    kinds = ('ict', 'makehuman') if values.people else ('ict',)

    def load():
        return workers.load_world(values.face_dir, kinds, values.people)

    drawn = measure(load, draw, values.num_pictures)
    sys.stdout.write(json.dumps(drawn._asdict(), indent=2) + '\n')


if __name__ == '__main__':
    define_flags()
    flags.mark_flags_as_required(['face_dir'])
    app.run(main)
