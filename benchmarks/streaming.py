"""Streams frames through a Reconstructor; reports memory growth and latency, early and late.

python -m benchmarks.streaming --num_frames=10000                              # CPU, packaged run
python -m benchmarks.streaming --config=configs/fusion.py --num_frames=10000   # 256 pixels
python -m benchmarks.streaming --record --photos=FOLDER                        # with colours
JAX_PLATFORMS=cuda python -m benchmarks.streaming --config=configs/fusion.py   # the same on a GPU

`--config` streams through the untrained network of a config: time and memory do not depend on the
weights. `--record` also does what run_demo.py does with each frame: the head's pose, the face's
colours, frames.csv. `--photos` are shown again and again in place of drawn ones.

Exits with status 1 if resident memory grew by 1 % or more, or if the median latency of the last
tenth is more than 1.2 times that of the first.
"""

import contextlib
import json
import re
import sys
import tempfile
import time

import jax
import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags

from benchmarks import race
from seqface_jax import checkpoints, errors, models
from seqface_jax.commands import compilation_cache
from seqface_jax.geometry import map_grid
from seqface_jax.photos import video
from seqface_jax.reconstruct import Reconstructor
from seqface_jax.reconstruction import demo_record, person_stream
from tests.helpers.small_raw_tree import draw_face

MAX_GROWTH = 0.01
MAX_SLOWDOWN = 1.2
WARM_UP = 200  # Frames before the first measurement: allocators and caches fill.
NUM_PHOTOS = 32  # Different ones; they come again and again.


def read_photos(folder):
    """Returns the photos of a folder, a list of [H, W, 3] uint8."""
    with contextlib.closing(video.open_source(folder).frames) as frames:
        return [frame.photo for frame in frames if frame.photo is not None]


def draw_photos():
    """Returns photos [200, 160, 3] uint8 of a drawn face that sways, with noise."""
    rng = np.random.default_rng(0)
    shown = []
    for index in range(NUM_PHOTOS):
        shift = 6 * np.sin(2 * np.pi * index / NUM_PHOTOS)
        photo = draw_face(200, 160, (80 + shift, 100), 45)
        noise = rng.integers(-6, 7, photo.shape)
        shown.append(np.clip(photo + noise, 0, 255).astype(np.uint8))
    return shown


def untrained(config):
    """Returns a Reconstructor of a config's network around a sphere of 90 mm."""
    size = config.data.image_size
    model = models.create(config.model, size)
    shapes = jax.eval_shape(lambda: checkpoints.init_variables(model, size, 0))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: rng.normal(0, 0.01, leaf.shape).astype(np.float32), dict(shapes)
    )
    sphere = np.float32(90 * map_grid.ray_directions())
    if 'mean_map' in variables.get('constants', {}):
        variables['constants']['mean_map'] = sphere
    return Reconstructor(config, model, variables)


def measure(reconstructor, num_frames, shown, record=None):
    """Streams frames and measures.

    Args:
        reconstructor: Reconstructor.
        num_frames: how many, after the warm-up.
        shown: photos, [H, W, 3] uint8 each; they come again and again.
        record: demo_record.Record that takes note of every frame, or None.

    Returns:
        dict of plain numbers; times in ms, memory in MB.
    """
    state = reconstructor.initial_state()
    reconstructor.compile()
    milliseconds = np.zeros((3, num_frames))
    used, resident = 0, 0.0
    for number in range(-WARM_UP, num_frames):
        if number == 0:
            resident = resident_mb()
        photo = shown[number % len(shown)]
        begin = time.perf_counter()
        observation = reconstructor.examine(state, photo)
        found = time.perf_counter()
        state, face = reconstructor.update(state, photo, observation)
        updated = time.perf_counter()
        if record is not None:
            frame = video.Frame(str(number), photo)
            record.add(person_stream.Moment(frame, observation, state, face))
        moments = begin, found, updated, time.perf_counter()
        if number >= 0:
            milliseconds[:, number] = 1e3 * np.diff(moments)
            used += face is not None
    total, tenth = milliseconds.sum(axis=0), max(1, num_frames // 10)
    return {
        'device': jax.local_devices()[0].device_kind,
        'image_size': reconstructor.config.data.image_size,
        'num_frames': num_frames,
        'used': used,
        'resident_before_mb': resident,
        'resident_after_mb': resident_mb(),
        'resident_growth': resident_mb() / resident - 1,
        'peak_mb': race.peak_mb(),
        'find_ms': percentiles(milliseconds[0]),
        'network_ms': percentiles(milliseconds[1]),
        'record_ms': percentiles(milliseconds[2]),
        'total_first_tenth_ms': percentiles(total[:tenth]),
        'total_last_tenth_ms': percentiles(total[-tenth:]),
    }


def percentiles(values):
    """Returns the median, the 95th and the 99th percentile."""
    return {f'p{q}': round(float(np.percentile(values, q)), 3) for q in (50, 95, 99)}


def resident_mb():
    """Returns the resident memory of this process that is no file's, in MB (Linux).

    Pages of libraries come and go as Linux likes.
    """
    with open('/proc/self/status') as file:
        return int(re.search(r'RssAnon:\s*(\d+) kB', file.read())[1]) / 1024


def complaints(measured):
    """Returns what is worse than promised, a list of str."""
    found = []
    if measured['resident_growth'] >= MAX_GROWTH:
        found.append(f'memory grew by {measured["resident_growth"]:.2%}')
    slowdown = measured['total_last_tenth_ms']['p50'] / measured['total_first_tenth_ms']['p50']
    if slowdown > MAX_SLOWDOWN:
        found.append(f'frames take {slowdown:.2f} times as long at the end')
    return found


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    config_flags.DEFINE_config_file('config', None, 'Config of an untrained network to stream.')
    flags.DEFINE_string('workdir', None, 'A trained run; the packaged one if left out.')
    flags.DEFINE_string('photos', None, 'Folder of photos of one person; drawn ones if left out.')
    flags.DEFINE_bool('record', False, 'Also gather the colours of the face, as run_demo.py does.')
    flags.DEFINE_integer('num_frames', 10_000, 'Frames to stream after the warm-up.')
    flags.DEFINE_string('output', None, 'JSON file for the numbers; none if left out.')


@errors.exit_on_user_error
def main(argv):
    """Streams frames and prints latency and growth of memory."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    compilation_cache.turn_on()
    if flags.FLAGS.config is not None:
        reconstructor = untrained(flags.FLAGS.config)
    else:
        reconstructor = Reconstructor.restore(flags.FLAGS.workdir)
    shown = read_photos(flags.FLAGS.photos) if flags.FLAGS.photos else draw_photos()
    with contextlib.ExitStack() as stack:
        record = None
        if flags.FLAGS.record:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            record = demo_record.Record(folder, face_mask=reconstructor.face_mask)
            stack.enter_context(record)
        measured = measure(reconstructor, flags.FLAGS.num_frames, shown, record)
    text = json.dumps(measured, indent=2)
    sys.stdout.write(text + '\n')
    if flags.FLAGS.output is not None:
        with open(flags.FLAGS.output, 'w') as file:
            file.write(text + '\n')
    found = complaints(measured)
    if found:
        sys.stdout.write(f'not as promised: {"; ".join(found)}\n')
        sys.exit(1)


if __name__ == '__main__':
    define_flags()
    app.run(main)
