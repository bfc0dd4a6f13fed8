"""The input pipeline: start-up, decoding, shuffling, augmentation, and how long a step waits.

python -m benchmarks.input --config=configs/quickstart.py --config.data.dir=DATA
JAX_PLATFORMS=cuda python -m benchmarks.input --config=configs/fusion.py --config.data.dir=DATA

Frames are decoded with the cache off, by one thread: frames a second and core. The plan of an
epoch is timed at the size of BU-4DFE (101 people of 600 frames), with the share of neighbours in
it that are of one person (1 / 101 is chance). A step waits for `next(batches)` in a training loop
of the config's network, the cache off too.
"""

import functools
import json
import sys
import time

import jax
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from benchmarks import race
from seqface_jax import errors, models
from seqface_jax.data import augmentation, input_pipeline
from seqface_jax.training.devices import AXIS, Devices
from seqface_jax.training.start import network_constants
from seqface_jax.training.state import create_state
from seqface_jax.training.steps import train_step

PEOPLE, FRAMES_EACH = 101, 600


def measure(config, num_batches):
    """Returns a dict of plain numbers."""
    config = config.copy_and_resolve_references()
    config.data.cache_mib = 0
    begin = time.perf_counter()
    split = input_pipeline.open_dataset(config.data).split(config.data.train_split)
    measured = {'hardware': race.hardware(), 'image_size': config.data.image_size}
    measured['open_seconds'] = time.perf_counter() - begin
    num_batches = min(num_batches, split.num_batches())
    frames = config.data.batch_size * config.data.num_frames
    seconds, cpu_seconds = [], []
    for index in range(num_batches):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        split.batch(0, 0, index)
        seconds.append(time.perf_counter() - begin)
        cpu_seconds.append(time.process_time() - cpu_begin)
    measured['frames_per_second_of_a_thread'] = frames / race.median(seconds)
    measured['frames_per_cpu_second'] = frames / race.median(cpu_seconds)
    return measured | plan(config.data.num_frames) | steps(config, split, num_batches)


def plan(num_frames):
    """Times the plan of an epoch of BU-4DFE's size, and tells how random it is."""
    begin = time.process_time()
    groups = input_pipeline.epoch_plan(0, 0, [FRAMES_EACH] * PEOPLE, num_frames)
    cpu_seconds = time.process_time() - begin
    people = np.array([person for person, _ in groups])
    return {
        'plan_cpu_seconds': cpu_seconds,
        'plan_neighbours_of_one_person': float((people[1:] == people[:-1]).mean()),
    }


def steps(config, split, num_batches):
    """Times training steps, what they wait for their batch, and augmentation by itself."""
    devices = Devices(config.data.batch_size)
    model = models.create(config.model, config.data.image_size, axis_name=AXIS)
    constants = network_constants(config, split)
    state = devices.replicate(create_state(config, model, constants, split.num_batches()))
    step = devices.map(functools.partial(train_step, config), num_outputs=2, donate=True)
    waits, times = [], []
    batches = split.batches(0, 1)
    for _ in range(num_batches + 1):
        begin = time.perf_counter()
        batch = next(batches)
        waits.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        state, metrics = step(state, devices.deal(batch, config))
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - begin)
    waits, times = waits[1:], times[1:]  # The first compiles.
    augment = jax.jit(
        lambda key, batch: augmentation.augment(key, batch, config.data.augmentation)['frames']
    )
    batch = {name: value for name, value in batch.items() if value.dtype != object}
    race.seconds(augment, jax.random.key(0), batch)
    augmenting = [race.seconds(augment, jax.random.key(i), batch) for i in range(num_batches)]
    return {
        'step_seconds': race.median(times),
        'wait_share': sum(waits) / (sum(waits) + sum(times)),
        'augmentation_share': race.median(augmenting) / race.median(times),
    }


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    config_flags.DEFINE_config_file('config', 'configs/quickstart.py', 'Whose pipeline.')
    flags.DEFINE_integer('num_batches', 10, 'Batches to time.')


@errors.exit_on_user_error
def main(argv):
    """Times the parts of the input pipeline and prints JSON."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    measured = measure(flags.FLAGS.config, flags.FLAGS.num_batches)
    sys.stdout.write(json.dumps(measured, indent=2) + '\n')


if __name__ == '__main__':
    define_flags()
    app.run(main)
