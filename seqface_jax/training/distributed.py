"""Several processes that train one network together, one on each machine.

JAX's distributed runtime joins them; `Devices` of train.py then spans all their devices. Each
process reads its own rows of every batch. The first one alone reads and writes the workdir.
"""

import contextlib
import json
import os
import sys
import traceback

import jax
import numpy as np
from jax.experimental import multihost_utils

from seqface_jax.errors import UserError, device_error, disk_error

AUTO = 'auto'  # A coordinator that Slurm, Open MPI or Kubernetes tells.
HEARTBEAT_TIMEOUT_SECONDS = 60  # After which a silent machine is given up.
_MAX_TEXT = 1 << 16  # Bytes of what `plain_from_first` sends.
# What collectives say when a process at the other end is gone.
_SIGNS_OF_LOSS = ('Gloo', 'NCCL', 'ncclResult', 'coordination', 'heartbeat', 'Connection')


@contextlib.contextmanager
def job(coordinator=None, num_processes=None, process_id=None):
    """Makes this process one of a job; alone where no coordinator is given.

    An error inside ends this process with one sentence and status 1, at once: the others, which
    wait for it, end too.

    Args:
        coordinator: 'host:port' of the first process, 'auto', or None.
        num_processes: of the job; told by the cluster if 'auto'.
        process_id: from 0; told by the cluster if 'auto'.

    Raises:
        UserError: the three do not fit together.
    """
    if coordinator is None:
        if num_processes is not None or process_id is not None:
            raise UserError('--num_processes and --process_id need --coordinator=HOST:PORT')
        yield
        return
    _join(coordinator, num_processes, process_id)
    try:
        yield
    except BaseException as error:
        _leave(error)
    jax.distributed.shutdown()


def is_first():
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def share():
    """Returns which part of every batch is this process's: (index, count)."""
    return jax.process_index(), jax.process_count()


def from_first(tree):
    """Returns the first process's values of a tree of arrays; all have the same shapes."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def plain_from_first(values):
    """Returns the first process's values of a dict that JSON can hold."""
    if jax.process_count() == 1:
        return values
    text = json.dumps(values).encode().ljust(_MAX_TEXT)
    sent = multihost_utils.broadcast_one_to_all(np.frombuffer(text, np.uint8))
    return json.loads(np.asarray(sent).tobytes())


class Silent:
    """Stands, in the other processes, for what the first alone writes: every call does nothing."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return lambda *args, **kwargs: None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None


def _join(coordinator, num_processes, process_id):
    where = {}
    if coordinator != AUTO:
        if num_processes is None or process_id is None or ':' not in coordinator:
            raise UserError(
                'give --coordinator=HOST:PORT of the first process, --num_processes and '
                '--process_id, or --coordinator=auto under Slurm, Open MPI or Kubernetes'
            )
        if not 0 <= process_id < num_processes:
            raise UserError(f'--process_id={process_id} is not one of 0 to {num_processes - 1}')
        where = {
            'coordinator_address': coordinator,
            'num_processes': num_processes,
            'process_id': process_id,
        }
    # Lets CPU devices exchange values.
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    try:
        jax.distributed.initialize(**where, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_SECONDS)
        # Gloo waits half a minute for the others to connect: now, while all are at one place.
        multihost_utils.sync_global_devices('joined')
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition('\n')[0]
        raise UserError(
            f'cannot join the processes at {coordinator} ({reason}): check --coordinator, and '
            'start every process'
        ) from error


def _leave(error):
    """Ends this process without waiting for the others."""
    if isinstance(error, UserError):
        sentence = str(error)
    elif isinstance(error, KeyboardInterrupt):
        sentence = 'stopped; the same commands go on from the last checkpoint'
    else:
        sentence = disk_error(error) or device_error(error)
        if sentence is None and any(sign in str(error) for sign in _SIGNS_OF_LOSS):
            reason = ' '.join(str(error).split())[:200]
            sentence = (
                f'another process of this job has ended or is out of reach ({reason}): start all '
                'of them again, and the run goes on from its last checkpoint'
            )
    with contextlib.suppress(OSError):  # Nobody may read what it says any more.
        if sentence is None:
            traceback.print_exception(error)
        else:
            sys.stderr.write(f'error: {sentence}\n')
        sys.stderr.flush()
    os._exit(1)  # The way out through JAX waits for processes that may be gone.
