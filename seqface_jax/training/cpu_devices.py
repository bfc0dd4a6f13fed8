"""How many devices the cores of a CPU are to JAX.

XLA runs many small operations on one core, whatever it has: with a device for each core, every core
works on its own part of the batch.
"""

import os

import jax

_FORCED = 'xla_force_host_platform_device_count'  # In XLA_FLAGS: somebody has chosen.


def count(cpu_devices, batch_size, num_cores):
    """Returns how many devices to make.

    Args:
        cpu_devices: train.cpu_devices of a config; 0: one for each core, at most as many as can
            share a batch evenly.
        batch_size: sequences of a batch.
        num_cores: that this process may use.
    """
    if cpu_devices:
        return cpu_devices
    return max(n for n in range(1, min(num_cores, batch_size) + 1) if batch_size % n == 0)


def set_up(config):
    """Makes the CPU as many devices as a config asks for; before JAX is first used."""
    if _FORCED in os.environ.get('XLA_FLAGS', ''):
        return
    num_cores = len(os.sched_getaffinity(0))
    number = count(config.train.cpu_devices, config.data.batch_size, num_cores)
    jax.config.update('jax_num_cpu_devices', number)
