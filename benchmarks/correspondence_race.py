"""A training step of the correspondence network: ours against Keras, in turn, same weights.

python -m benchmarks.correspondence_race                                   # CPU
JAX_PLATFORMS=cuda python -m benchmarks.correspondence_race                # GPU
python -m benchmarks.correspondence_race --contestants=ours                # without Keras

Contestants, each in a process of its own: `ours`, the train_step that run_train.py runs;
`graph`, the same layers and loss in Keras on TensorFlow, in a tf.function; `keras_jax`, in Keras on
JAX. Same batch, same first weights: the losses of the batch before the first step must agree to
0.1 %. Ours also damages the frames and averages the weights in its step; Keras's does not. Beside
the times: peak memory of each process, with its start (imports, compilation) and of the timed steps
only, and the rate of a matrix product of this machine, taken in the same turns.
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

BACKENDS = {'graph': 'tensorflow', 'keras_jax': 'jax'}  # Backends of Keras.
CONTESTANTS = ('ours', *BACKENDS)
DEFAULT_CONTESTANTS = ('ours', 'graph')
TOLERANCE = 1e-3  # Largest relative difference of the losses before the first step.
_STARTS = 3  # Steps before the first turn.
_LAYOUT_SIZE = 0.02  # Size of the made-up layouts, crop sides.


def make_config(batch_size, **model):
    """Returns configs/cpu.py with a batch size and other fields of the model."""
    from configs import cpu

    config = cpu.get_config()
    config.data.batch_size = batch_size
    config.model.update(model)
    return config


def make_inputs(config, seed=0):
    """Returns the variables and the batch that all contestants start from.

    Args:
        config: of the correspondence network.
        seed: of both.

    Returns:
        variables as of Flax, and a batch as point_losses.losses takes it.
    """
    from seqface_jax import checkpoints, models
    from seqface_jax.training import point_losses

    size, count, rng = config.data.image_size, config.data.batch_size, np.random.default_rng(seed)
    points, num_layouts = config.model.num_points, config.model.num_layouts
    variables = checkpoints.draw_variables(models.create(config.model, size), size, seed)
    layouts = rng.normal(0, _LAYOUT_SIZE, (num_layouts, points, 2)).astype(np.float32)
    mean = rng.uniform(0.2, 0.8, (points, 2)).astype(np.float32)
    places = mean + np.tensordot(rng.normal(size=(count, num_layouts)), layouts, 1) / 10
    batch = {
        'frames': rng.random((count, size, size, 3), np.float32),
        'places': places.astype(np.float32),
        'seen': (rng.random((count, points)) < 0.8).astype(np.float32),
        'is_face': (np.arange(count) % 8 > 0).astype(np.float32),
    }
    batch |= point_losses.draw_starts(rng, count, layouts)
    constants = {'layout_mean': mean, 'layouts': layouts}
    return {'params': variables['params'], 'constants': constants}, batch


def our_step(config, variables, batch):
    """Returns a function that takes one step, and the loss of the batch before the first."""
    import jax
    import jax.numpy as jnp

    from seqface_jax import models
    from seqface_jax.training import correspondence_training

    model = models.create(config.model, config.data.image_size)
    tx = correspondence_training.optimizer(config)
    params = jax.tree.map(jnp.asarray, variables['params'])
    given = {'params': params} | _constants(variables)
    first = float(_our_loss(config, model, given, batch))
    state = {'params': params, 'ema': jax.tree.map(jnp.copy, params), 'opt_state': tx.init(params)}
    state |= _constants(variables) | {'step': jnp.zeros((), jnp.int32)}
    key = jax.random.key(0)
    step = jax.jit(
        functools.partial(correspondence_training.train_step, config, model, tx), donate_argnums=0
    )
    own = batch | {'frames': np.uint8(255 * batch['frames'])}  # As they come from the disk.

    def run():
        nonlocal state
        state, terms = step(state, own, key)
        return float(terms['loss'])

    return run, first


def _constants(variables):
    import jax
    import jax.numpy as jnp

    return {'constants': jax.tree.map(jnp.asarray, variables['constants'])}


def _our_loss(config, model, variables, batch):
    import jax

    from seqface_jax.training import point_losses

    weights = config.train.loss_weights
    return jax.jit(lambda v, b: point_losses.losses(model, v, b, weights)[0])(variables, batch)


def build_keras(config, variables, batch):
    """Returns the KerasNetwork with the weights of `variables`."""
    from benchmarks import keras_correspondence

    constants = variables['constants']
    network = keras_correspondence.KerasNetwork(
        config.model, constants['layout_mean'], constants['layouts']
    )
    network(batch['frames'][:1], batch['places'][:1, :4], batch['chosen'][:1, :4])  # Builds it.
    keras_correspondence.set_weights(network, variables['params'])
    return network


def keras_step(config, variables, batch, kind):
    """Returns what `our_step` does, of Keras; `kind` is a key of BACKENDS."""
    import keras

    from benchmarks import keras_correspondence

    network = build_keras(config, variables, batch)
    optimizer = keras.optimizers.AdamW(
        config.optimizer.learning_rate,
        beta_2=0.99,
        weight_decay=config.optimizer.weight_decay,
        global_clipnorm=config.optimizer.clip_norm,
    )
    weights = config.train.loss_weights
    step = (_graph_step if kind == 'graph' else _jax_step)(network, optimizer, batch, weights)
    first = float(keras_correspondence.loss(network, _tensors(batch), weights))
    return step, first


def _tensors(batch):
    from keras import ops

    return {name: ops.convert_to_tensor(value) for name, value in batch.items()}


def _graph_step(network, optimizer, batch, weights):
    import tensorflow as tf

    from benchmarks import keras_correspondence

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            loss = keras_correspondence.loss(network, batch, weights)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    tensors = _tensors(batch)
    return lambda: float(step(tensors))


def _jax_step(network, optimizer, batch, weights):
    import jax

    from benchmarks import keras_correspondence

    optimizer.build(network.trainable_variables)
    trainable = [own.value for own in network.trainable_variables]
    fixed = [own.value for own in network.non_trainable_variables]
    slots = [own.value for own in optimizer.variables]

    def loss_of(trainable, batch):
        names = zip(network.trainable_variables, trainable, strict=True)
        others = zip(network.non_trainable_variables, fixed, strict=True)
        with _scope([*names, *others]):
            return keras_correspondence.loss(network, batch, weights)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(trainable, slots, batch):
        loss, gradients = jax.value_and_grad(loss_of)(trainable, batch)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return trainable, slots, loss

    trainable, slots = ([np.array(value) for value in values] for values in (trainable, slots))

    def run():
        nonlocal trainable, slots
        trainable, slots, loss = step(trainable, slots, batch)
        return float(loss)

    return run


def _scope(mapping):
    import keras

    return keras.StatelessScope(state_mapping=mapping)


def compete(name, folder, batch_size):
    """Serves one contestant."""
    first = None
    if name == 'matmul':
        step = race.Matmul().gflops
    else:
        config = make_config(batch_size)
        variables, batch = _read(folder)
        if name == 'ours':
            step, first = our_step(config, variables, batch)
        else:
            step, first = keras_step(config, variables, batch, name)

    def begin():
        for _ in range(_STARTS):
            step()
        return {'loss': first}

    def device_peak_mb():
        from benchmarks import keras_race

        return keras_race.device_peak_mb(name)

    race.serve(race.serve_steps(step, begin, device_peak_mb))


def _write(folder, batch_size):
    from flax import traverse_util

    variables, batch = make_inputs(make_config(batch_size))
    np.savez(f'{folder}/variables.npz', **traverse_util.flatten_dict(variables, sep='/'))
    np.savez(f'{folder}/batch.npz', **batch)
    return {}


def _read(folder):
    from flax import traverse_util

    with np.load(f'{folder}/variables.npz') as file:
        variables = traverse_util.unflatten_dict(dict(file), sep='/')
    with np.load(f'{folder}/batch.npz') as file:
        return variables, dict(file)


def measure(contestants, batch_size, repetitions):
    """Races the contestants; returns a dict of plain numbers.

    Raises:
        UserError: their losses differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        common = [f'--batch_size={batch_size}', f'--folder={folder}']

        def start(name):
            quiet = {'KERAS_BACKEND': BACKENDS.get(name, 'jax'), 'TF_CPP_MIN_LOG_LEVEL': '3'}
            arguments = ['-m', 'benchmarks.correspondence_race', f'--worker={name}', *common]
            return race.Contestant(arguments, quiet)

        def check(first):
            check_losses({name: own['loss'] for name, own in first.items()})

        rows, rates = race.race_steps(start, contestants, repetitions, check)
    return {'batch_size': batch_size, 'contestants': rows, 'matmul_gflops': race.median(rates)}


check_losses = functools.partial(race.check_losses, tolerance=TOLERANCE)


def check_installation(contestants):
    """Raises UserError if a contestant's library is not installed."""
    needed = {
        name for kind in contestants if kind in BACKENDS for name in ('keras', BACKENDS[kind])
    }
    absent = sorted(name for name in needed if importlib.util.find_spec(name) is None)
    if absent:
        raise errors.UserError(
            f"not installed: {', '.join(absent)}: pip install -e '.[bench]', best in an "
            'environment of its own; or give --contestants=ours'
        )


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_integer('batch_size', 32, 'Crops in a step; 32 in configs/cpu.py.')
    flags.DEFINE_integer('repetitions', 7, 'Turns.')
    flags.DEFINE_list('contestants', list(DEFAULT_CONTESTANTS), f'Of {CONTESTANTS}.')
    flags.DEFINE_string('output', None, 'JSON file for the numbers; none if left out.')
    flags.DEFINE_string('worker', None, 'Internal: be this contestant.')
    flags.DEFINE_string('folder', None, 'Internal: where the inputs are.')


@errors.exit_on_user_error
def main(argv):
    """Races the contestants and prints the table."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    from benchmarks import keras_race

    values = flags.FLAGS
    if values.worker == 'inputs':
        race.serve({'write': lambda: _write(values.folder, values.batch_size)})
        return
    if values.worker is not None:
        compete(values.worker, values.folder, values.batch_size)
        return
    for name in values.contestants:
        errors.check_choice(name, CONTESTANTS, 'contestant')
    check_installation(values.contestants)
    measured = measure(values.contestants, values.batch_size, values.repetitions)
    sys.stdout.write(keras_race.table(measured) + '\n')
    sys.stdout.write(f'\nmatrix product {measured["matmul_gflops"]:.0f} GFLOP/s\n')
    if values.output is not None:
        with open(os.path.expanduser(values.output), 'w') as file:
            json.dump(measured, file, indent=2)


if __name__ == '__main__':
    define_flags()
    app.run(main)
