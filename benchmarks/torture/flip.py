"""Damaged checkpoints: one byte after the other is changed; what is read is right or refused.

    python -m benchmarks.torture.flip --workdir=runs/tiny --which=latest --every=1

Works on a copy. A changed byte passes if the reader refuses the checkpoint in one sentence, or
returns what it returns of the undamaged one (a byte that no reader looks at). Exit status 1 else.
"""

import contextlib
import os
import shutil
import sys
import tempfile

import jax
import numpy as np
from absl import app, flags

from seqface_jax import checkpoints
from seqface_jax.errors import UserError, exit_on_user_error


def read(workdir, which):
    """Returns (variables, meta) of a checkpoint, or the sentence why it is refused."""
    try:
        with contextlib.closing(checkpoints.Store(workdir)) as store:
            variables, _, meta = store.restore(which)
    except UserError as error:
        return str(error)
    return jax.tree.map(np.asarray, variables), meta


def files_of(folder):
    """Returns the sorted paths of all files below a folder."""
    return sorted(
        os.path.join(place, name) for place, _, names in os.walk(folder) for name in names
    )


def places_of(path, every):
    """Returns the offsets to change in a file: one of so many, the first and the last too."""
    size = os.path.getsize(path)
    return sorted({*range(0, size, every), size - 1} - {-1})


def changes(workdir, which, places):
    """Changes single bytes and reads, leaving the files as they were.

    Args:
        workdir: of a run; nobody else uses it.
        which: one of checkpoints.WHICH.
        places: function of a path that returns the offsets to change in it.

    Yields:
        path, offset, what `read` said: a sentence, or None if it returned what it should.

    Raises:
        AssertionError: a checkpoint that was changed came back as a sound one.
    """
    expected = read(workdir, which)
    if isinstance(expected, str):
        raise UserError(expected)
    for path in files_of(os.path.join(workdir, 'checkpoints', which)):
        with open(path, 'rb') as file:
            content = file.read()
        for offset in places(path):
            changed = bytearray(content)
            changed[offset] ^= 1 << offset % 8
            with open(path, 'wb') as file:
                file.write(changed)
            found = read(workdir, which)
            if not isinstance(found, str):
                place = f'byte {offset} of {path}'
                assert found[1] == expected[1], f'{place} changed the values unseen'
                same = jax.tree.map(np.array_equal, found[0], expected[0])
                assert jax.tree.all(same), f'{place} changed the arrays unseen'
            elif '\n' in found:
                raise AssertionError(f'not one sentence: {found}')
            yield path, offset, found if isinstance(found, str) else None
        with open(path, 'wb') as file:
            file.write(content)


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('workdir', None, 'Folder of a run.', required=True)
    flags.DEFINE_enum('which', 'best_validation', checkpoints.WHICH, 'Checkpoint.')
    flags.DEFINE_integer('every', 1, 'Change one byte of so many.', lower_bound=1)


@exit_on_user_error
def main(argv):
    """Changes one byte after the other and prints what became of it."""
    del argv
    refused = total = 0
    with tempfile.TemporaryDirectory() as folder:
        workdir = shutil.copytree(flags.FLAGS.workdir, os.path.join(folder, 'run'))
        every = flags.FLAGS.every
        for _, _, sentence in changes(
            workdir, flags.FLAGS.which, lambda path: places_of(path, every)
        ):
            total += 1
            refused += sentence is not None
    sys.stdout.write(f'{total} changed bytes: {refused} refused, {total - refused} of no effect\n')


if __name__ == '__main__':
    define_flags()
    app.run(main)
