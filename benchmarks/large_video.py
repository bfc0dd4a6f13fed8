"""Times run_demo's work on a frame of a 4K video against a frame of 512 pixels.

python -m benchmarks.large_video

Both films show the same photograph (scikit-image's astronaut), swaying. The time of a frame is the
difference between two runs of unlike length, so that compiling and writing the face do not count.
Exits with status 1 if the large frame takes more than 1.5 times as long.
"""

import os
import sys
import tempfile
import time

import cv2
import numpy as np
from absl import app, flags, logging
from skimage import data

from seqface_jax import demo, errors
from seqface_jax.commands import command_line, compilation_cache

SIZES = ((512, 512), (3840, 2160))  # Width and height, px.
MAX_RATIO = 1.5
_RATE = 30.0


def film(path, size, num_frames):
    """Writes a film of a face that sways, `size` (width, height) px.

    Raises:
        UserError: OpenCV cannot write it.
    """
    width, height = size
    photo = cv2.resize(data.astronaut(), (height, height), interpolation=cv2.INTER_CUBIC)
    left = (width - height) // 2
    wide = np.pad(photo, ((0, 0), (left, left), (0, 0)), mode='edge')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'mp4v'), _RATE, size)
    if not writer.isOpened():
        raise errors.UserError(f'cannot write the video {path}: this OpenCV has no MPEG-4 encoder')
    for number in range(num_frames):
        shift = round(0.02 * height * np.sin(number / 5))
        writer.write(np.ascontiguousarray(np.roll(wide, shift, 1)[..., ::-1]))
    writer.release()


def seconds_per_frame(path, output, few, many):
    """Returns the seconds that a frame takes in demo.run.

    Args:
        path: of the film; output: folder for the face.
        few, many: frames of the two runs.
    """
    took = []
    for count in (few, many):
        begin = time.perf_counter()
        demo.run(None, path, output, max_frames=count)
        took.append(time.perf_counter() - begin)
    return (took[1] - took[0]) / (many - few)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_integer('few', 4, 'Frames of the short run.', lower_bound=1)
    flags.DEFINE_integer('many', 34, 'Frames of the long run.', lower_bound=2)


@errors.exit_on_user_error
def main(argv):
    """Measures and prints the table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    compilation_cache.turn_on()
    few, many = flags.FLAGS.few, flags.FLAGS.many
    if not few < many:
        raise errors.UserError(f'--many={many} must be more than --few={few}')
    took = []
    with tempfile.TemporaryDirectory() as folder:
        for width, height in SIZES:
            path = os.path.join(folder, f'{width}.mp4')
            film(path, (width, height), many)
            took.append(seconds_per_frame(path, os.path.join(folder, 'out'), few, many))
            sys.stdout.write(f'{width} x {height}: {1e3 * took[-1]:.0f} ms a frame\n')
            sys.stdout.flush()
    ratio = took[1] / took[0]
    sys.stdout.write(f'{ratio:.2f} times; at most {MAX_RATIO}\n')
    sys.exit(int(ratio > MAX_RATIO))


if __name__ == '__main__':
    define_flags()
    app.run(main, flags_parser=command_line.parse)
