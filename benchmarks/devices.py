"""A training step of a config on 1, 2, 4 devices: time, operations, share of the matmul rate.

python -m benchmarks.devices --config=configs/fusion.py                     # forced CPU devices
JAX_PLATFORMS=cuda python -m benchmarks.devices --config=configs/fusion.py --counts=1,2,4

Each count is a process of its own, all asked in turn. Forced CPU devices share the cores, so that
their efficiency says what splitting costs, not what more machines bring. Random frames and
targets; the loss of the first step must be the same on every count. FLOP as XLA counts them before
it optimises.
"""

import contextlib
import functools
import json
import os
import sys
import time

import numpy as np
from absl import app, flags
from ml_collections import config_flags

from benchmarks import race
from seqface_jax import errors

TOLERANCE = 1e-4  # Largest relative difference of the first step's loss.


def make_batch(config):
    """Returns a batch of random frames and of targets near a sphere of 90 mm."""
    from seqface_jax.geometry import map_grid
    from seqface_jax.training import objective

    rng = np.random.default_rng(0)
    size, count, num_frames = config.data.image_size, config.data.batch_size, config.data.num_frames
    sphere = 90 * map_grid.ray_directions().astype(np.float32)
    maps = sphere * rng.uniform(0.9, 1.1, (count, *sphere.shape[:2], 1)).astype(np.float32)
    batch = {
        'frames': rng.integers(0, 256, (count, num_frames, size, size, 3), np.uint8),
        'position_map': maps,
        'mask': np.ones(maps.shape[:3], bool),
        'points': maps.reshape(count, -1, 3),
        'weight': np.ones(count, np.float32),
        'row': np.arange(count, dtype=np.int32),
    }
    missing = [name for name in objective.batch_fields(config) if name not in batch]
    if missing:
        raise errors.UserError(f'this benchmark draws no {" and ".join(missing)}')
    return batch


def compete(config):
    """Serves a training step on all devices of this process."""
    import jax

    from seqface_jax import models
    from seqface_jax.training.devices import AXIS, Devices
    from seqface_jax.training.state import create_state
    from seqface_jax.training.steps import train_step

    batch = make_batch(config)
    devices = Devices(config.data.batch_size)
    model = models.create(config.model, config.data.image_size, axis_name=AXIS)
    frames = np.float32(batch['frames'].reshape(-1, *batch['frames'].shape[2:]) / 255)
    table = {name: batch[name] for name in ('position_map', 'mask', 'points')}
    constants = models.constants(config.model, table, lambda count: frames[:count])
    constants = jax.tree.map(np.float32, constants)
    state = devices.replicate(create_state(config, model, constants, 1000))
    step = devices.map(functools.partial(train_step, config), num_outputs=2, donate=True)
    parts = devices.deal(batch, config)
    matmul = race.Matmul()

    def start():
        nonlocal state
        state, metrics = step(state, parts)
        return {'loss': float(metrics['loss']), 'where': race.hardware()}

    def turn():
        nonlocal state
        begin, cpu_begin = time.perf_counter(), time.process_time()
        state, metrics = step(state, parts)
        jax.block_until_ready(metrics)
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
        return {'seconds': seconds, 'cpu_seconds': cpu_seconds, 'gflops': matmul.gflops()}

    def end():
        return {'peak_mb': race.peak_mb()}

    def count():
        return {'gflop': race.gflop(step.lower(state, parts)) * devices.count}

    race.serve({'start': start, 'turn': turn, 'end': end, 'count': count})


def measure(arguments, counts, repetitions):
    """Returns a dict of plain numbers by number of devices.

    Args:
        arguments: of this command: the config and its changes.
        counts: list of int, numbers of devices.
        repetitions: turns.

    Raises:
        UserError: the losses differ.
    """
    command = ['-m', 'benchmarks.devices', '--worker', *arguments]
    with race.Contestant(command, race.COUNTING) as counter:
        gflop = counter.ask('count')['gflop']
    with contextlib.ExitStack() as stack:
        racing = {}
        for count in counts:
            environment = {
                'XLA_FLAGS': f'--xla_force_host_platform_device_count={count}',
                'CUDA_VISIBLE_DEVICES': ','.join(map(str, range(count))),
            }
            racing[count] = stack.enter_context(race.Contestant(command, environment))
        first = {count: racing[count].ask('start') for count in counts}
        losses = [first[count]['loss'] for count in counts]
        if not np.allclose(losses, losses[0], rtol=TOLERANCE):
            raise errors.UserError(f'the losses on {counts} devices differ: {losses}')
        turns = race.in_turn(racing, 'turn', repetitions)
        peaks = {count: racing[count].ask('end')['peak_mb'] for count in counts}
    rows = {}
    for count in counts:
        fastest = min(turn['seconds'] for turn in turns[count])
        rate = max(turn['gflops'] for turn in turns[count])
        rows[count] = first[count] | {
            'seconds': race.median(turn['seconds'] for turn in turns[count]),
            'cpu_seconds': race.median(turn['cpu_seconds'] for turn in turns[count]),
            'peak_mb': peaks[count],
            'gflop': gflop,
            # The best of each: on a shared machine medians of rates say how busy it is.
            'share_of_matmul': gflop / fastest / rate,
        }
    return rows


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    config_flags.DEFINE_config_file('config', 'configs/fusion.py', 'Whose training step.')
    flags.DEFINE_list('counts', ['1', '2', '4'], 'Numbers of devices.')
    flags.DEFINE_integer('repetitions', 5, 'Turns.')
    flags.DEFINE_bool('worker', False, 'Internal: be one contestant.')


@errors.exit_on_user_error
def main(argv):
    """Times a step on each number of devices and prints JSON."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    values = flags.FLAGS
    if values.worker:
        compete(values.config)
        return
    make_batch(values.config)  # Refuses what cannot be measured before anything is started.
    arguments = [word for word in sys.argv[1:] if word.startswith('--config')]
    counts = [int(count) for count in values.counts]
    rows = measure(arguments, counts, values.repetitions)
    sys.stdout.write(json.dumps(rows, indent=2) + '\n')


if __name__ == '__main__':
    define_flags()
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    app.run(main)
