"""How long a program of ours takes before it does something: imports, and the first compilation.

python -m benchmarks.startup                          # CPU
JAX_PLATFORMS=cuda python -m benchmarks.startup       # GPU

Each figure is the median over fresh processes, cold and warm cache in turn; CPU seconds beside
the wall clock, as they do not depend on who else uses the machine.
"""

import json
import sys
import tempfile

from absl import app, flags

from benchmarks import race
from seqface_jax import errors

IMPORTS = {
    'python': 'pass',
    'numpy': 'import numpy',
    'jax': 'import jax',
    'seqface_jax': 'import seqface_jax',
    'seqface_jax.models': 'from seqface_jax import models',
    'seqface_jax.reconstruct': 'from seqface_jax.reconstruct import Reconstructor',
    'seqface_jax.train': 'from seqface_jax import train',
}
STREAM = """
import time
from seqface_jax.commands import compilation_cache
from seqface_jax.reconstruct import Reconstructor
compilation_cache.turn_on()
reconstructor = Reconstructor.restore(WORKDIR)
begin = time.perf_counter(), time.process_time()
reconstructor.compile()
print(time.perf_counter() - begin[0], time.process_time() - begin[1])
"""


def run(code, environment=None):
    """Runs Python code in a fresh process; returns a race.Finished."""
    finished = race.run(['-c', code], environment)
    finished.process.check_returncode()
    return finished


def measure(workdir, repetitions):
    """Returns medians: dict of name -> {seconds, cpu_seconds}."""
    stream = STREAM.replace('WORKDIR', repr(workdir))
    found = {}

    def keep(name, seconds, cpu_seconds):
        found.setdefault(name, []).append((seconds, cpu_seconds))

    for _ in range(repetitions):
        for name, code in IMPORTS.items():
            result = run(code)
            keep(f'import {name}', result.seconds, result.cpu_seconds)
        with tempfile.TemporaryDirectory() as folder:
            for name in ('cold', 'warm'):
                result = run(stream, {'JAX_COMPILATION_CACHE_DIR': folder})
                keep(
                    f'compile the streamed step, {name} cache',
                    *map(float, result.process.stdout.split()),
                )
    return {
        name: {
            'seconds': race.median(pair[0] for pair in pairs),
            'cpu_seconds': race.median(pair[1] for pair in pairs),
        }
        for name, pairs in found.items()
    }


def define_flags():
    """Defines the flags, when the command runs: two commands may have flags of one name."""
    flags.DEFINE_string('workdir', None, 'A trained run; the packaged one if left out.')
    flags.DEFINE_integer('repetitions', 3, 'Fresh processes of each kind.')


@errors.exit_on_user_error
def main(argv):
    """Times the start of each program and prints JSON."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    sys.stdout.write(
        json.dumps(measure(flags.FLAGS.workdir, flags.FLAGS.repetitions), indent=2) + '\n'
    )


if __name__ == '__main__':
    define_flags()
    app.run(main)
