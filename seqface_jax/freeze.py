"""Freezes a checkpoint into one file that seqface_jax/frozen.py runs without the rest.

python -m seqface_jax.freeze [--workdir=RUN] --output=face.frozen

The step is StableHLO (jax.export), for CPU, NVIDIA GPU and TPU; JAX promises to read it for six
months after the release that wrote it, and in practice for longer.
"""

import io
import json
import sys
import zipfile

import jax
import numpy as np
from absl import app, flags, logging
from jax import export as jax_export

from seqface_jax import checkpoints, errors, files, frozen
from seqface_jax.commands import command_line
from seqface_jax.models.network import FaceNetwork
from seqface_jax.photos import crops

PLATFORMS = ('cpu', 'cuda', 'tpu')


def freeze(path, config, model, variables):
    """Writes a frozen network; the file is whole or absent.

    Args:
        path: of the file.
        config, model, variables: as checkpoints.load returns them.

    Raises:
        UserError: the file cannot be written.
    """
    network = FaceNetwork(config, model, variables)
    state = jax.device_get(network.initial_state(variables))
    state_leaves, state_tree = jax.tree.flatten(state)
    weights, weight_tree = jax.tree.flatten(variables)

    def step(weights, state, frames):
        variables = jax.tree.unflatten(weight_tree, weights)
        state = jax.tree.unflatten(state_tree, state)
        state, vertices, confidence, _ = network.step(variables, state, frames)
        return jax.tree.leaves(state), vertices, confidence

    size = config.data.image_size
    frames = np.zeros((1, size, size, 3), np.uint8)
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (weights, state_leaves, frames)
    )
    exported = jax_export.export(jax.jit(step), platforms=PLATFORMS)(*shapes)
    triangles = np.zeros((0, 3), np.int32) if network.triangles is None else network.triangles
    arrays = {'triangles': triangles}
    arrays |= {f'weight/{number}': np.asarray(leaf) for number, leaf in enumerate(weights)}
    arrays |= {f'state/{number}': np.asarray(leaf) for number, leaf in enumerate(state_leaves)}
    meta = {'format': frozen.FORMAT, 'image_size': size, 'settings': _settings(config)}
    try:
        files.write_atomically(path, lambda file: _write(file, meta, exported, arrays))
    except OSError as error:
        raise errors.UserError(
            f'cannot write {path} ({error.strerror}): choose another --output'
        ) from error


def _write(file, meta, exported, arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr(frozen.META, json.dumps(meta, indent=2))
        archive.writestr(frozen.STEP, bytes(exported.serialize()))
        archive.writestr(frozen.ARRAYS, content.getvalue())


def _settings(config):
    return {
        'model': config.model.name,
        'jax': jax.__version__,
        'platforms': PLATFORMS,
        'unit': 'mm',
        'crop': (
            f"square, {crops.CROP_SCALE} times as wide as the box of OpenCV's frontal "
            f'Haar cascade, centred on it and moved down by {crops.CROP_SHIFT_DOWN} of '
            'its side; seqface_jax/photos/face_detection.py'
        ),
    }


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string(
        'workdir', None, 'The trained run, of a system that answers with position maps.'
    )
    flags.DEFINE_string('checkpoint', 'best_validation', 'Or best_training, latest.')
    flags.DEFINE_string('output', None, 'File to write.')


@errors.exit_on_user_error
def main(argv):
    """Freezes the checkpoint of a run into --output."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    errors.check_choice(flags.FLAGS.checkpoint, checkpoints.WHICH, 'checkpoint')
    loaded = checkpoints.load_recurrent(flags.FLAGS.workdir, flags.FLAGS.checkpoint)
    freeze(flags.FLAGS.output, *loaded)
    sys.stdout.write(f'wrote {flags.FLAGS.output}; load it with seqface_jax/frozen.py\n')


if __name__ == '__main__':
    define_flags()
    command_line.require(output='FILE to write')
    app.run(main, flags_parser=command_line.parse)
