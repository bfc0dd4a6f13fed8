"""Memory of a training step against the number of frames, with and without rematerialisation.

Curves: plain, and for each of --parts, model.remat_frames.

python -m benchmarks.long_sequences --config=configs/bu4dfe_thesis.py       # CPU, 256 pixels
JAX_PLATFORMS=cuda python -m benchmarks.long_sequences --config=configs/bu4dfe_thesis.py

The memory is what XLA plans for the gradient of one sequence, the loop over time rolled, as on a
GPU. With --limit_mb the longest sequence that fits is read off the lines. With --run each gradient
is computed too, in a process of its own: the most memory that was in use, parameters included, and
whether all numbers are finite. A stream needs none of it: the network keeps one state of constant
size (benchmarks/streaming.py).
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from benchmarks import race
from seqface_jax import checkpoints, errors, models


def compile_gradient(config, num_frames, changes):
    """Compiles the gradient of one sequence.

    Args:
        config: of the network.
        num_frames: T.
        changes: dict of other fields for config.model.

    Returns:
        the compiled function of params, rest and frames [1, T, H, W, 3], and the model.
    """
    size = config.data.image_size
    fields = dict(config.model) | changes
    model = models.create(fields, size, scan_unroll=1)
    variables = jax.eval_shape(lambda: checkpoints.init_variables(model, size, 0))
    frames = jax.ShapeDtypeStruct((1, num_frames, size, size, 3), jnp.float32)

    def loss(params, rest, frames):
        prediction, _ = model.apply(
            rest | {'params': params},
            frames,
            train=True,
            last_only=True,
            mutable=['batch_stats'],
            rngs={'dropout': jax.random.key(0)},
        )
        return jnp.square(prediction.position_map).mean()

    params, rest = split(variables)
    return jax.jit(jax.grad(loss)).lower(params, rest, frames).compile(), model


def split(variables):
    """Returns the parameters of variables, and their other collections."""
    return variables['params'], {k: tree for k, tree in variables.items() if k != 'params'}


def planned_mb(config, num_frames, changes):
    """Returns the memory that the gradient of one sequence takes besides the parameters, in MB.

    Args: as of `compile_gradient`.
    """
    compiled, _ = compile_gradient(config, num_frames, changes)
    return compiled.memory_analysis().temp_size_in_bytes / 2**20


def run(config, num_frames, changes):
    """Computes the gradient of one random sequence once.

    Args: as of `compile_gradient`.

    Returns:
        dict of peak_mb, of the device or, on a CPU, of the process, seconds, and is_finite.
    """
    size = config.data.image_size
    compiled, model = compile_gradient(config, num_frames, changes)
    params, rest = split(checkpoints.draw_variables(model, size, 0))
    frames = jax.random.uniform(jax.random.key(0), (1, num_frames, size, size, 3))
    begin = time.perf_counter()
    gradient = jax.block_until_ready(compiled(params, rest, frames))
    seconds = time.perf_counter() - begin
    return {
        'num_frames': num_frames,
        'peak_mb': race.accelerator_peak_mb() or race.peak_mb(),
        'seconds': seconds,
        'is_finite': all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient)),
    }


def run_apart(num_frames, changes):
    """As `run`, in a process of its own with this one's flags."""
    worker = json.dumps({'num_frames': num_frames, 'changes': changes})
    arguments = ['-m', 'benchmarks.long_sequences', *sys.argv[1:], f'--worker={worker}']
    with race.Contestant(arguments) as contestant:
        return contestant.ask('run')


def choices(config, lengths, parts):
    """Yields the name of a curve, what to change in config.model for it, and its lengths."""
    if 'remat_frames' not in config.model:
        yield 'plain', {}, lengths
        return
    yield 'plain', {'remat_frames': 0}, lengths
    for size in parts:
        yield f'parts of {size}', {'remat_frames': size}, [size * length for length in lengths]


def measure(config, lengths, parts, limit_mb, *, with_runs=False):
    """Returns a dict of plain numbers: a curve and its line for each of `choices`."""
    measured = {'image_size': config.data.image_size, 'curves': {}}
    for name, changes, frames in choices(config, lengths, parts):
        curve = [planned_mb(config, num_frames, changes) for num_frames in frames]
        slope, fixed = np.polyfit(frames, curve, 1)
        line = {'lengths': frames, 'mb': curve, 'mb_per_frame': slope, 'fixed_mb': fixed}
        if limit_mb:
            line['longest'] = int((limit_mb - fixed) / slope)
        if with_runs:
            line['runs'] = [run_apart(num_frames, changes) for num_frames in frames]
        measured['curves'][name] = line
    return measured


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    config_flags.DEFINE_config_file('config', 'configs/bu4dfe_thesis.py', 'Config of the network.')
    flags.DEFINE_list('lengths', ['4', '8', '16'], 'Numbers of frames.')
    flags.DEFINE_list('parts', ['2', '8'], 'Frames of a part, of which only the state is kept.')
    flags.DEFINE_bool('run', False, 'Compute the gradients, too.')
    flags.DEFINE_string('worker', None, 'Internal: compute one.')
    flags.DEFINE_float('limit_mb', None, 'Memory for one sequence, to say how long it may be.')


@errors.exit_on_user_error
def main(argv):
    """Measures the memory of a step at each length and prints JSON."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    values = flags.FLAGS
    if values.worker is not None:
        race.serve({'run': lambda: run(values.config, **json.loads(values.worker))})
        return
    lengths, parts = ([int(count) for count in given] for given in (values.lengths, values.parts))
    measured = measure(values.config, lengths, parts, values.limit_mb, with_runs=values.run)
    sys.stdout.write(f'{race.hardware()}\n{json.dumps(measured, indent=2)}\n')


if __name__ == '__main__':
    define_flags()
    app.run(main)
