"""The parts of a lease that are the flagship's: draw, train, measure, streams, float32.

Each is a process that benchmarks.lease starts: `python -m benchmarks.lease_flagship PART ...`.
"""

import contextlib
import multiprocessing
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

from benchmarks import lease_pack, race
from seqface_jax import checkpoints

_PROBES = (20, 60, 220)  # Steps after which a training that only measures the time is stopped.
_SEQUENCE_SEED = 77  # Seed of people and pictures that are measured on; as of sequences.py.
_SWAYING = 30  # Photos that are streamed again and again.
_SHARE_FOR_STEPS = 0.9  # Share of the time that is left; the rest is for what was not measured.
KINDS = ('ict', 'makehuman', 'embedded')


def draw(pack, work, seconds):
    """Draws hard pictures until the time is up, and meanwhile the people to measure on.

    Args:
        pack: folder of lease_pack.pack; work: folder to write to.
        seconds: after which no further shard is waited for.
    """
    from data_prep.hard_pictures import workers
    from data_prep.hard_pictures.people import WIDE

    begin = time.perf_counter()
    work = pathlib.Path(work)
    face_dir, folder = str(work / 'FaceXModel'), str(work / 'pictures')
    people = os.path.join(pack, lease_pack.PEOPLE)
    lease_pack.unpack(pack, face_dir)
    os.makedirs(folder, exist_ok=True)
    workers.write_points(folder, face_dir)
    with contextlib.ExitStack() as stack:
        for kind in KINDS:
            stack.enter_context(_sequences(face_dir, people, kind, work / f'{kind}.npz'))
        count = max(1, (os.cpu_count() or 1) - len(KINDS))  # A core is left for each kind.
        arguments = (face_dir, ('ict', 'makehuman'), people, WIDE)
        pool = stack.enter_context(
            multiprocessing.get_context('spawn').Pool(count, workers.start, arguments)
        )
        done = pool.imap_unordered(workers.draw, jobs(folder))
        shards = 0
        with contextlib.suppress(multiprocessing.TimeoutError):
            while (left := seconds - (time.perf_counter() - begin)) > 0:
                done.next(timeout=left)
                shards += 1
        pool.terminate()  # Shards are written whole or not at all.
    sys.stdout.write(f'{shards} shards of pictures in {time.perf_counter() - begin:.0f} s\n')


def jobs(folder):
    """Yields jobs of `workers.draw`: of 15 shards 5 are plain and one shows no face."""
    for number in range(10_000):
        yield folder, number, 0, number % 3 == 2, number % 15 == 7


@contextlib.contextmanager
def _sequences(face_dir, people, kind, path):
    """Draws the people of a kind in a process of its own, which is waited for at the end."""
    arguments = ['-m', 'data_prep.hard_pictures.sequences', f'--face_dir={face_dir}']
    arguments += [f'--people={people}', f'--kind={kind}', f'--out={path}', '--num_people=8']
    arguments.append(f'--seed={_SEQUENCE_SEED}')
    process = subprocess.Popen([sys.executable, *arguments], cwd=race.ROOT)
    try:
        yield
        process.wait()
    finally:
        process.kill()


def train(config, workdir, seconds, probes=_PROBES):
    """Trains for as many steps as a time is enough for; returns their number.

    A training that is thrown away tells how long a step takes and how long all the rest: the rate
    falls with the share of the steps done, so that their number must be known beforehand.

    Args:
        config: of the correspondence network; its numbers of steps are set.
        workdir: of the run; PROBE is beside it.
        seconds: for all of it.
        probes: steps at which the trial is stopped: once compiled, two spans of different length.
    """
    from seqface_jax.training import correspondence_training

    begin = time.perf_counter()
    trial, taken = f'{workdir}.trial', []
    for last in probes:
        start = time.perf_counter()
        correspondence_training.train(config, trial, stop_after=last)
        taken.append(time.perf_counter() - start)
    few, many = probes[1] - probes[0], probes[2] - probes[1]
    step = max((taken[2] - taken[1]) / (many - few), 1e-4)
    around = max(taken[1] - few * step, 0.0)
    left = seconds - (time.perf_counter() - begin) - around
    config.train.num_steps = max(probes[-1], int(_SHARE_FOR_STEPS * left / step))
    config.train.checkpoint_every_steps = max(1, config.train.num_steps // 6)
    correspondence_training.train(config, workdir)
    sys.stdout.write(
        f'{config.train.num_steps} steps, {1e3 * step:.1f} ms each as measured before, in '
        f'{time.perf_counter() - begin:.0f} s\n'
    )
    return config.train.num_steps


def measure(work):
    """Prints errors by kind, and packages the run."""
    run = os.path.join(work, 'flagship')
    known = [os.path.join(work, f'{kind}.npz') for kind in KINDS]
    known = [path for path in known if os.path.exists(path)]
    learnt = [path for path in known if not path.endswith('embedded.npz')]
    rest = [path for path in known if path not in learnt]
    # The packaged geometry begins with the arrays of a shape space.
    space = os.path.join(checkpoints.PRETRAINED, 'geometry.npz')
    calibrate = ['-m', 'data_prep.package_files.calibrate', f'--workdir={run}', f'--space={space}']
    for flag, paths in (('sequences', learnt), ('test', rest)):
        calibrate += [f'--{flag}={",".join(paths)}'] if paths else []
    package = [
        '-m',
        'data_prep.package_files.package_run',
        f'--workdir={run}',
        f'--output={work}/packaged',
    ]
    for arguments in (calibrate, package):
        subprocess.run([sys.executable, *arguments], cwd=race.ROOT, check=True)


def streams(work, num_frames=300):
    """Streams photos of one face that sways through the packaged run; prints latency and memory."""
    import cv2

    from benchmarks import waiting

    folder = os.path.join(work, 'photos')
    os.makedirs(folder, exist_ok=True)
    for number, picture in enumerate(waiting.pictures(_SWAYING)):
        place = os.path.join(folder, f'{number:02d}.png')
        cv2.imwrite(place, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    arguments = ['-m', 'benchmarks.streaming', f'--photos={folder}', f'--num_frames={num_frames}']
    subprocess.run([sys.executable, *arguments], cwd=race.ROOT, check=True)


def float32(workdir):
    """Returns the loss of one batch in the device's usual precision and in full float32.

    Args:
        workdir: of a run of the correspondence network, whose pictures are there.
    """
    import functools

    import jax

    from seqface_jax.data import pictures
    from seqface_jax.training import correspondence_training, point_losses

    config, model, variables = checkpoints.load(workdir, 'best_validation')
    data = pictures.Pictures(config.data.dir, 0, 1)
    with np.load(os.path.join(config.data.dir, 'points.npz')) as file:
        mirror = file['mirror']
    rng = np.random.default_rng(0)
    indices = np.arange(min(config.data.batch_size, len(data)))
    batch = pictures.make_batch(data, indices, config.data.image_size, mirror, rng, augment=False)
    batch |= point_losses.draw_starts(
        rng, len(indices), np.asarray(variables['constants']['layouts'])
    )
    losses = {}
    for precision in ('default', 'highest'):
        with jax.default_matmul_precision(precision):
            step = jax.jit(functools.partial(correspondence_training.eval_step, config, model))
            losses[precision] = float(step(variables, batch)['loss'])
    return losses


def main(arguments):
    """Does one part: its name, and what it takes."""
    part, *rest = arguments
    if part == 'draw':
        draw(rest[0], rest[1], float(rest[2]))
    elif part == 'train':
        from configs import cpu
        from seqface_jax.commands import compilation_cache

        compilation_cache.turn_on()  # The trial compiles for all of them.
        config = cpu.get_config()
        config.data.dir = os.path.join(rest[0], 'pictures')
        train(config, os.path.join(rest[0], 'flagship'), float(rest[1]))
    elif part == 'measure':
        measure(rest[0])
    elif part == 'streams':
        streams(rest[0])
    elif part == 'float32':
        losses = float32(os.path.join(rest[0], 'flagship'))
        apart = losses['default'] / losses['highest'] - 1
        sys.stdout.write(f'loss {losses["highest"]:.6f} in float32, {apart:+.2e} as usual\n')
    else:
        raise ValueError(f'no part {part!r}')


if __name__ == '__main__':
    main(sys.argv[1:])
