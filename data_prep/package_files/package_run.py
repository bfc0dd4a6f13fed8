"""Makes a small copy of a flagship's run, as it comes with the package.

python -m data_prep.package_files.package_run --workdir=runs/cpu
    --output=seqface_jax/pretrained

Parameters are rounded to 11 binary digits, which halves what they take and moves the points by
less than a hundredth of a pixel; config.json and geometry.npz are copied, CARD.md is left alone.
"""

import os
import pathlib
import shutil
import sys

import jax
import numpy as np
from absl import app, flags, logging

from seqface_jax import checkpoints, errors
from seqface_jax.commands import command_line
from seqface_jax.reconstruction import flagship

_DROPPED_BITS = 13  # Dropped bits of the 24 of a float32's significand.
_MARK = 'commit_success.txt'


def rounded(values):
    """Returns float32 values to the nearest with 11 binary digits; they compress well.

    Args:
        values: array; other types than float32 are returned as they are.
    """
    values = np.asarray(values)
    if values.dtype != np.float32:
        return values
    bits = values.view(np.uint32).astype(np.uint64)
    half = np.uint64(1 << (_DROPPED_BITS - 1))
    mask = np.uint64(0xFFFFFFFF ^ ((1 << _DROPPED_BITS) - 1))
    kept = ((bits + half) & mask).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(kept), kept, values)


def package(workdir, output):
    """Copies the best checkpoint of a run, rounded, its config and its geometry.

    Args:
        workdir: of a flagship's run.
        output: folder; a checkpoint that is there is replaced.

    Returns:
        size of the copy in bytes.

    Raises:
        UserError: the run has no checkpoint or no geometry.
    """
    config, _, variables = checkpoints.load(workdir, 'best_validation')
    meta = checkpoints.read_meta(workdir, 'best_validation')
    geometry = flagship.geometry_path(workdir)
    flagship.read_geometry(geometry)
    os.makedirs(output, exist_ok=True)
    shutil.rmtree(os.path.join(output, 'checkpoints'), ignore_errors=True)
    checkpoints.write_config(output, config)
    small = jax.tree.map(rounded, jax.device_get(variables))
    kept = {name: meta[name] for name in ('step', 'validation_loss') if name in meta}
    checkpoints.save(output, 'best_validation', small, kept)
    shutil.copyfile(geometry, flagship.geometry_path(output))
    for mark in pathlib.Path(output).rglob(_MARK):  # Orbax writes where it was; nobody asks.
        mark.write_text('Checkpoint commit was successful\n')
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(output) for name in names]
    return sum(os.path.getsize(path) for path in paths)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('workdir', None, 'Run of a flagship, with its geometry.npz.')
    flags.DEFINE_string('output', None, 'Folder to write.')


@errors.exit_on_user_error
def main(argv):
    """Writes the small copy of the run."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)
    size = package(flags.FLAGS.workdir, flags.FLAGS.output)
    sys.stdout.write(f'{flags.FLAGS.output}: {size / 1e6:.1f} MB\n')


if __name__ == '__main__':
    define_flags()
    command_line.require(workdir='RUN, the folder of a flagship', output='FOLDER to write')
    app.run(main, flags_parser=command_line.parse)
