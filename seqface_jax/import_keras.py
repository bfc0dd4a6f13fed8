"""Turns a model.h5 that the thesis code saved with Keras 2 into a run of ours.

    python -m seqface_jax.import_keras --h5=model.h5 --workdir=runs/thesis

checkpoints/keras_file.py reads the file, checkpoints/keras_conversion.py converts its layers.
"""

import os
import sys
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags, logging
from flax import traverse_util
from ml_collections import config_flags

from seqface_jax import checkpoints, models
from seqface_jax.checkpoints.keras_conversion import convert
from seqface_jax.checkpoints.keras_file import read_layers
from seqface_jax.commands import command_line
from seqface_jax.errors import UserError, exit_on_user_error

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OFFSET_MM = (0.0, -4.0, 58.0)  # The centroid of a face in the canonical frame.


class Network(NamedTuple):
    """What a file holds: fields of SeqFace, its variables, and the input that it was made for."""

    fields: dict[str, Any]
    variables: dict[str, Any]
    image_size: int
    num_frames: int | None


def read(path):
    """Returns the Network in a file.

    Raises:
        UserError: it cannot be read, is not a saved Keras 2 model, or is of another network.
    """
    input_shape, layers = read_layers(path)
    try:
        values, variables = convert(layers)
    except (UserError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f'{path} does not hold the network of the thesis: {error}') from error
    num_frames, height, width, channels = input_shape
    if channels != 3 or height != width or not height:
        raise UserError(
            f'{path} takes frames of {height} x {width} x {channels}: only square RGB frames of a '
            'fixed size can be imported'
        )
    _check_shapes(path, values, variables, height)
    return Network(values, variables, height, num_frames)


def write_run(network, workdir, config, scale_mm):
    """Writes a workdir that evaluates and streams as one of a training does.

    Args:
        network: a Network.
        workdir: folder to write.
        config: ConfigDict of the run; the sections model and data are changed to fit.
        scale_mm: millimetres per unit of the output.
    """
    config = config.copy_and_resolve_references()
    config.data.image_size = network.image_size
    if network.num_frames:
        config.data.num_frames = network.num_frames
    with config.unlocked():
        config.model = {'name': 'seqface'} | network.fields
    constants = {'scale_mm': np.float32(scale_mm), 'offset_mm': np.float32(_OFFSET_MM)}
    checkpoints.write_config(workdir, config)
    checkpoints.save(workdir, 'best_validation', network.variables | {'constants': constants}, {})


def _check_shapes(path, values, variables, image_size):
    """Raises UserError if the arrays do not fit the network that the layers describe."""
    model = models.create({'name': 'seqface'} | values, image_size)
    expected = dict(jax.eval_shape(lambda: checkpoints.init_variables(model, image_size, 0)))
    expected.pop('constants')
    shapes = [
        {place: np.shape(array) for place, array in traverse_util.flatten_dict(tree).items()}
        for tree in (expected, variables)
    ]
    differing = sorted(
        '/'.join(place)
        for place in shapes[0].keys() | shapes[1].keys()
        if shapes[0].get(place) != shapes[1].get(place)
    )
    if differing:
        raise UserError(
            f'{path} is inconsistent: its arrays do not fit its layers, first at {differing[0]}'
        )


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('h5', None, 'The file that model.save of the thesis code wrote.')
    flags.DEFINE_string('workdir', None, 'Folder of the run to write.')
    flags.DEFINE_float(
        'scale_mm',
        100.0,
        'Millimetres per unit of the output: the file does not know its own scale.',
    )
    config_flags.DEFINE_config_file(
        'config',
        os.path.join(_ROOT, 'configs', 'bu4dfe_thesis.py'),
        'Config of the run; what the file says of the network and its input replaces its lines.',
        lock_config=True,
    )


@exit_on_user_error
def main(argv):
    """Imports the file."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    network = read(flags.FLAGS.h5)
    write_run(network, flags.FLAGS.workdir, flags.FLAGS.config, flags.FLAGS.scale_mm)
    size, count = network.image_size, sum(x.size for x in jax.tree.leaves(network.variables))
    sys.stdout.write(f'{flags.FLAGS.workdir}: {count} numbers, frames of {size} x {size}\n')


if __name__ == '__main__':
    define_flags()
    command_line.require(h5='FILE of the thesis, .h5', workdir='FOLDER of the new run')
    app.run(main, flags_parser=command_line.parse)
