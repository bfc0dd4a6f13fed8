"""Trains the network of a config; started again, it goes on where it stopped.

python run_train.py --config=configs/quickstart.py [--workdir=runs/quickstart]
    [--config.train.num_epochs=20]

The options of a config, each with a comment, are in configs/default.py, those of the flagship in
configs/cpu.py; --config.SECTION.FIELD=VALUE sets one.

On several machines, the same command on each, the workdir on the first one:

python run_train.py ... --coordinator=FIRST:1234 --num_processes=2 --process_id=0   # 1 on the other
"""

import os
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from seqface_jax import errors
from seqface_jax.commands import command_line, extras

_CONFIG = config_flags.DEFINE_config_file('config', lock_config=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of this run; runs/<config> if left out.')
_COORDINATOR = flags.DEFINE_string(
    'coordinator', None, "HOST:PORT of the first of several processes, or 'auto' (Slurm, MPI)."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    'num_processes', None, 'Processes of a training on several machines.'
)
_PROCESS_ID = flags.DEFINE_integer('process_id', None, 'Which of them this is, from 0.')
command_line.require(config='configs/quickstart.py or another of configs/')


@errors.exit_on_user_error
def main(argv):
    """Trains the network of --config until its last epoch."""
    if argv[1:]:
        raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    logging.set_verbosity(logging.WARNING)  # Orbax tells a page about each checkpoint.
    extras.require('train')
    # JAX takes seconds, --help need not wait.
    import cv2

    from seqface_jax import train

    cv2.setNumThreads(1)  # The readers of records are threads already.

    path = flags.FLAGS['config'].config_filename.partition(':')[0]
    name = os.path.splitext(os.path.basename(path))[0]
    workdir = _WORKDIR.value or os.path.join('runs', name)
    job = _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
    sentence = train.train(_CONFIG.value, workdir, *job)
    if sentence is not None:
        sys.stdout.write(f'{workdir}: {sentence}\n')


if __name__ == '__main__':
    app.run(main, flags_parser=command_line.parse_with_config)
