"""A training step of the thesis's network: ours against Keras, in turn, from the same weights.

python -m benchmarks.keras_race --image_size=64                     # CPU
JAX_PLATFORMS=cuda python -m benchmarks.keras_race --image_size=256 # GPU, with tensorflow[and-cuda]

Contestants, each in a process of its own: `ours`, the train_step that run_train.py runs;
`ours_parts`, the same with model.remat_frames, whose batch statistics, and so losses, are of parts
of two frames: it races alone, with --num_frames=64 for what 8 take elsewhere;
`graph`, Keras on TensorFlow in a tf.function; `eager`, the same without it, as the thesis wrote its
loop; `keras_jax`, Keras 3 on JAX. Keras's network is that of tests/helpers/keras_reference.py,
rebuilt from the thesis. The first three losses must agree to 0.1 %. Beside the times: peak memory
of each process, with its start (imports, compilation) and of the timed steps only,
floating-point operations of our step as XLA counts them before it optimises, and the rate of a
matrix product of this machine, taken in the same turns.
"""

import functools
import importlib.util
import json
import os
import sys
import tempfile

import numpy as np
from absl import app, flags

from benchmarks import race
from seqface_jax import errors

OURS = {  # And what differs from configs/bu4dfe_thesis.py.
    'ours': {},
    'ours_parts': {'model.remat_frames': 2},
}
BACKENDS = {'graph': 'tensorflow', 'eager': 'tensorflow', 'keras_jax': 'jax'}  # Backends of Keras.
CONTESTANTS = (*OURS, *BACKENDS)
DEFAULT_CONTESTANTS = ('ours', 'graph', 'eager', 'keras_jax')
TOLERANCE = 1e-3  # Largest relative difference of the losses of the first steps.
CHECKED_STEPS = 3
LEARNING_RATE, EPSILON = 1e-4, 1e-7


def check_installation(contestants):
    """Raises UserError if what the contestants need is not installed."""
    needed = {'keras', *(BACKENDS[name] for name in contestants if name in BACKENDS)}
    absent = sorted(name for name in needed if importlib.util.find_spec(name) is None)
    if absent:
        raise errors.UserError(
            f"not installed: {', '.join(absent)}: pip install -e '.[bench]', best in an "
            'environment of its own'
        )


def write_inputs(folder, image_size, num_frames, batch_size):
    """Writes what all contestants start from: weights, ours and Keras's, and one batch.

    Runs in a process of its own, Keras on JAX.
    """
    from flax import traverse_util

    from seqface_jax.checkpoints import keras_conversion
    from seqface_jax.models import normalization
    from tests.helpers import keras_reference

    rng = np.random.default_rng(0)
    model = keras_reference.build(image_size, num_frames)
    keras_reference.randomize(model, rng)
    _, variables = keras_conversion.convert(keras_reference.read_layers(model))
    np.savez(f'{folder}/ours.npz', **traverse_util.flatten_dict(variables, sep='/'))
    np.savez(f'{folder}/keras.npz', *model.get_weights())
    shape = (batch_size, num_frames, image_size, image_size, 3)
    frames = rng.integers(0, 256, shape, np.uint8)
    normalized = np.asarray(normalization.normalize_frames(frames, 'min_max_bgr'))
    points = rng.uniform(-1, 1, (batch_size, (image_size // 2) ** 2, 3)).astype(np.float32)
    np.savez(f'{folder}/batch.npz', frames=frames, normalized=normalized, points=points)


def our_step(folder, image_size, num_frames, changes):
    """Returns a function that takes one step and returns its loss, and one that counts its GFLOP.

    Args:
        folder: of `write_inputs`.
        image_size, num_frames: of the batch.
        changes: dict of what differs from the thesis's config.
    """
    import functools

    import jax
    import jax.numpy as jnp
    from flax import traverse_util

    from configs import bu4dfe_thesis
    from seqface_jax import models
    from seqface_jax.training import optimizers
    from seqface_jax.training.devices import AXIS, Devices
    from seqface_jax.training.state import TrainState
    from seqface_jax.training.steps import train_step

    config = bu4dfe_thesis.get_config()
    config.update_from_flattened_dict(changes)
    batch = dict(np.load(f'{folder}/batch.npz'))
    batch_size = len(batch['frames'])
    config.data.update(image_size=image_size, num_frames=num_frames, batch_size=batch_size)
    variables = traverse_util.unflatten_dict(dict(np.load(f'{folder}/ours.npz')), sep='/')
    model = models.create(config.model, image_size, axis_name=AXIS)
    state = TrainState.create(
        apply_fn=model.apply,
        params=variables['params'],
        tx=optimizers.create(config.optimizer, 1_000_000),
        batch_stats=variables['batch_stats'],
        constants={'scale_mm': np.float32(1), 'offset_mm': np.zeros(3, np.float32)},
        ema_params=None,
    ).replace(step=jnp.zeros((), jnp.int32))
    devices = Devices(batch_size)
    state = devices.replicate(state)
    batch |= {'weight': np.ones(batch_size, np.float32), 'row': np.arange(batch_size)}
    batch = devices.deal(batch, config)
    step = devices.map(functools.partial(train_step, config), num_outputs=2, donate=True)

    def count():
        return race.gflop(step.lower(state, batch)) * devices.count

    def run():
        nonlocal state
        state, metrics = step(state, batch)
        return float(jax.device_get(metrics['loss']))

    return run, count


def keras_step(folder, image_size, num_frames, kind):
    """Returns a function that takes one step of Keras and returns its loss.

    Args:
        folder: of `write_inputs`.
        image_size, num_frames: of the batch.
        kind: a key of BACKENDS.
    """
    import keras

    from tests.helpers import keras_reference

    batch = np.load(f'{folder}/batch.npz')
    frames, points = batch['normalized'], batch['points']
    model = keras_reference.build(image_size, num_frames)
    model.set_weights(list(np.load(f'{folder}/keras.npz').values()))
    optimizer = keras.optimizers.Adam(LEARNING_RATE, epsilon=EPSILON)
    if BACKENDS[kind] != 'tensorflow':
        model.compile(optimizer, loss='mse')

        def run():
            model.reset_metrics()
            return float(model.train_on_batch(frames, points))

        return run
    import tensorflow as tf

    def step(frames, points):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(frames, training=True) - points))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    step = tf.function(step) if kind == 'graph' else step
    frames, points = tf.constant(frames), tf.constant(points)
    return lambda: float(step(frames, points))


def compete(name, folder, image_size, num_frames):
    """Serves one contestant."""
    count = None
    if name in OURS:
        step, count = our_step(folder, image_size, num_frames, OURS[name])
    elif name == 'matmul':
        step = race.Matmul().gflops
    else:
        step = keras_step(folder, image_size, num_frames, name)

    def begin():
        return {'losses': [step() for _ in range(CHECKED_STEPS)]}

    answers = race.serve_steps(step, begin, lambda: device_peak_mb(name))
    race.serve(answers | {'count': lambda: {'gflop': count()}})


def device_peak_mb(name):
    """Returns the peak memory on an accelerator, in MB; None on the CPU."""
    if BACKENDS.get(name) == 'tensorflow':
        import tensorflow as tf

        if not tf.config.list_physical_devices('GPU'):
            return None
        return tf.config.experimental.get_memory_info('GPU:0')['peak'] / 2**20
    return race.accelerator_peak_mb()


def measure(contestants, image_size, num_frames, batch_size, repetitions):
    """Races the contestants.

    Returns:
        dict of plain numbers.

    Raises:
        UserError: their losses differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        common = [f'--image_size={image_size}', f'--num_frames={num_frames}']
        common += [f'--batch_size={batch_size}', f'--folder={folder}']

        def start(name, environment=None):
            quiet = {'KERAS_BACKEND': BACKENDS.get(name, 'jax'), 'TF_CPP_MIN_LOG_LEVEL': '3'}
            arguments = ['-m', 'benchmarks.keras_race', f'--worker={name}', *common]
            return race.Contestant(arguments, quiet | (environment or {}))

        gflop = None
        if 'ours' in contestants:
            with start('ours', race.COUNTING) as counter:
                gflop = counter.ask('count')['gflop']

        def check(first):
            check_losses({name: own['losses'] for name, own in first.items()})

        rows, rates = race.race_steps(start, contestants, repetitions, check)
    measured = {
        'image_size': image_size,
        'num_frames': num_frames,
        'batch_size': batch_size,
        'repetitions': repetitions,
        'contestants': rows,
        'matmul_gflops': race.median(rates),
    }
    if gflop is not None:
        measured['gflop_per_step'] = gflop
        # The best of each: on a shared machine medians of rates say how busy it is.
        measured['share_of_matmul'] = gflop / rows['ours']['seconds_min'] / max(rates)
    return measured


check_losses = functools.partial(race.check_losses, tolerance=TOLERANCE)


def table(measured):
    """Returns the result as Markdown; ratios are to our step."""
    rows = measured['contestants']
    ours = rows.get('ours', next(iter(rows.values())))
    titles = ('', 'median s', 'fastest s', 'CPU s', 'times ours', 'CPU s, times ours')
    titles += ('peak MB', 'our peak / its', 'peak MB of the steps', 'ours / its')
    lines = ['| ' + ' | '.join(titles) + ' |', '|---' * len(titles) + '|']
    for name, row in rows.items():
        lines.append(
            f'| {name} | {row["seconds"]:.3f} | {row["seconds_min"]:.3f} '
            f'| {row["cpu_seconds"]:.2f} | {row["seconds"] / ours["seconds"]:.2f} '
            f'| {row["cpu_seconds"] / ours["cpu_seconds"]:.2f} '
            f'| {row["peak_mb"]:.0f} | {ours["peak_mb"] / row["peak_mb"]:.2f} '
            f'| {row["step_peak_mb"]:.0f} | {ours["step_peak_mb"] / row["step_peak_mb"]:.2f} |'
        )
    if 'share_of_matmul' in measured:
        lines.append(
            f'\n{measured["gflop_per_step"]:.0f} GFLOP a step; matrix product '
            f'{measured["matmul_gflops"]:.0f} GFLOP/s; our step runs at '
            f'{measured["share_of_matmul"]:.0%} of that'
        )
    return '\n'.join(lines)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_integer('image_size', 64, 'Side of the frames, pixels: 64, 128 or 256.')
    flags.DEFINE_integer('num_frames', 8, 'T; 8 in the thesis.')
    flags.DEFINE_integer('batch_size', 5, 'Sequences in a step; 5 in the thesis.')
    flags.DEFINE_integer('repetitions', 7, 'Turns.')
    flags.DEFINE_list(
        'contestants', list(DEFAULT_CONTESTANTS), f'Who takes part, of {CONTESTANTS}.'
    )
    flags.DEFINE_string('output', None, 'JSON file for the numbers; none if left out.')
    flags.DEFINE_string('worker', None, 'Internal: be this contestant.')
    flags.DEFINE_string('folder', None, 'Internal: where the inputs are.')


@errors.exit_on_user_error
def main(argv):
    """Runs the contestants in turn, checks their losses and prints the table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    values = flags.FLAGS
    if values.worker == 'inputs':
        race.serve(
            {
                'write': lambda: write_inputs(
                    values.folder, values.image_size, values.num_frames, values.batch_size
                )
            }
        )
        return
    if values.worker is not None:
        compete(values.worker, values.folder, values.image_size, values.num_frames)
        return
    unknown = sorted(set(values.contestants) - set(CONTESTANTS))
    if unknown:
        raise errors.UserError(
            f'no contestant {", ".join(unknown)}: choose of {", ".join(CONTESTANTS)}'
        )
    check_installation(values.contestants)
    measured = measure(
        values.contestants,
        values.image_size,
        values.num_frames,
        values.batch_size,
        values.repetitions,
    )
    sys.stdout.write(table(measured) + '\n')
    if values.output is not None:
        with open(os.path.expanduser(values.output), 'w') as file:
            json.dump(measured, file, indent=2)


if __name__ == '__main__':
    define_flags()
    app.run(main)
