"""Memory of a training step against the number of frames, with and without rematerialisation.

python -m benchmarks.long_sequences --config=configs/bu4dfe_thesis.py       # CPU, 256 pixels
JAX_PLATFORMS=cuda python -m benchmarks.long_sequences --config=configs/bu4dfe_thesis.py

The memory is what XLA plans for the gradient of one sequence (nothing is run), the loop over time
rolled, as on a GPU; --config.train.compute_dtype=bfloat16 halves most of it. With --limit_mb the
longest sequence that fits is read off the two lines.
A stream needs none of it: the network keeps one state of constant size (benchmarks/streaming.py).
"""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from benchmarks import race
from seqface_jax import checkpoints, errors, models, train


def planned_mb(config, num_frames, remat):
    """Returns the memory that the gradient of one sequence takes besides the parameters, in MB."""
    size = config.data.image_size
    fields = dict(config.model)
    if 'remat' in fields:
        fields['remat'] = remat
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


def measure(config, lengths, limit_mb):
    """Returns a dict of plain numbers: a curve and its line for each choice of remat."""
    measured = {'image_size': config.data.image_size, 'lengths': lengths, 'curves': {}}
    choices = (False, True) if 'remat' in config.model else (False,)
    for remat in choices:
        curve = [planned_mb(config, num_frames, remat) for num_frames in lengths]
        slope, fixed = np.polyfit(lengths, curve, 1)
        line = {'mb': curve, 'mb_per_frame': slope, 'fixed_mb': fixed}
        if limit_mb:
            line['longest'] = int((limit_mb - fixed) / slope)
        measured['curves']['remat' if remat else 'plain'] = line
    return measured


def define_flags():
    # Not at import: two commands in one process (tests) may have flags of one name.
    config_flags.DEFINE_config_file('config', 'configs/bu4dfe_thesis.py', 'Of the network.')
    flags.DEFINE_list('lengths', ['4', '8', '16'], 'Numbers of frames.')
    flags.DEFINE_float('limit_mb', None, 'Memory for one sequence, to say how long it may be.')


@errors.exit_on_user_error
def main(argv):
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    values = flags.FLAGS
    run = functools.partial(measure, values.config, [int(length) for length in values.lengths])
    sys.stdout.write(f'{race.hardware()}\n{json.dumps(run(values.limit_mb), indent=2)}\n')


if __name__ == '__main__':
    define_flags()
    app.run(main)
