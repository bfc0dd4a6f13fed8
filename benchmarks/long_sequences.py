"""Memory of a training step against the number of frames, with and without rematerialisation.

Curves: plain; model.remat=True; and for each of --parts, model.remat_frames.

python -m benchmarks.long_sequences --config=configs/bu4dfe_thesis.py       # CPU, 256 pixels
JAX_PLATFORMS=cuda python -m benchmarks.long_sequences --config=configs/bu4dfe_thesis.py

The memory is what XLA plans for the gradient of one sequence (nothing is run), the loop over time
rolled, as on a GPU; --config.train.compute_dtype=bfloat16 halves most of it. With --limit_mb the
longest sequence that fits is read off the lines.
A stream needs none of it: the network keeps one state of constant size (benchmarks/streaming.py).
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from benchmarks import race
from seqface_jax import checkpoints, errors, models, train


def planned_mb(config, num_frames, changes):
    """Returns the memory that the gradient of one sequence takes besides the parameters, in MB.

    Args:
        config: of the network.
        num_frames: T.
        changes: dict of other fields for config.model.
    """
    size = config.data.image_size
    fields = dict(config.model) | changes
    model = models.create(fields, size, scan_unroll=1)
    variables = jax.eval_shape(lambda: checkpoints.init_variables(model, size, 0))
    frames = jax.ShapeDtypeStruct((1, num_frames, size, size, 3), jnp.float32)

    def loss(params, rest, frames):
        frames, lower = train.lower_precision(config, frames)
        prediction, _ = model.apply(
            rest | {'params': lower(params)},
            frames,
            train=True,
            last_only=True,
            mutable=['batch_stats'],
            rngs={'dropout': jax.random.key(0)},
        )
        return jnp.square(prediction.position_map).mean()

    rest = {name: tree for name, tree in variables.items() if name != 'params'}
    compiled = jax.jit(jax.grad(loss)).lower(variables['params'], rest, frames).compile()
    return compiled.memory_analysis().temp_size_in_bytes / 2**20


def choices(config, lengths, parts):
    """Yields the name of a curve, what to change in config.model for it, and its lengths."""
    if 'remat' not in config.model:
        yield 'plain', {}, lengths
        return
    yield 'plain', {'remat': False, 'remat_frames': 0}, lengths
    yield 'remat', {'remat': True, 'remat_frames': 0}, lengths
    for size in parts:
        yield f'parts of {size}', {'remat_frames': size}, [size * length for length in lengths]


def measure(config, lengths, parts, limit_mb):
    """Returns a dict of plain numbers: a curve and its line for each of `choices`."""
    measured = {'image_size': config.data.image_size, 'curves': {}}
    for name, changes, frames in choices(config, lengths, parts):
        curve = [planned_mb(config, num_frames, changes) for num_frames in frames]
        slope, fixed = np.polyfit(frames, curve, 1)
        line = {'lengths': frames, 'mb': curve, 'mb_per_frame': slope, 'fixed_mb': fixed}
        if limit_mb:
            line['longest'] = int((limit_mb - fixed) / slope)
        measured['curves'][name] = line
    return measured


def define_flags():
    # Not at import: two commands in one process (tests) may have flags of one name.
    config_flags.DEFINE_config_file('config', 'configs/bu4dfe_thesis.py', 'Of the network.')
    flags.DEFINE_list('lengths', ['4', '8', '16'], 'Numbers of frames.')
    flags.DEFINE_list('parts', ['2', '8'], 'Frames of a part, of which only the state is kept.')
    flags.DEFINE_float('limit_mb', None, 'Memory for one sequence, to say how long it may be.')


@errors.exit_on_user_error
def main(argv):
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    values = flags.FLAGS
    lengths, parts = ([int(count) for count in given] for given in (values.lengths, values.parts))
    measured = measure(values.config, lengths, parts, values.limit_mb)
    sys.stdout.write(f'{race.hardware()}\n{json.dumps(measured, indent=2)}\n')


if __name__ == '__main__':
    define_flags()
    app.run(main)
