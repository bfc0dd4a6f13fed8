import os
import subprocess
import sys

import pytest

from seqface_jax.training import cpu_devices

_COUNT = """
import jax
from configs import tiny
from seqface_jax.training import cpu_devices

config = tiny.get_config()
config.train.cpu_devices = 2
cpu_devices.set_up(config)
print(jax.device_count())
"""


@pytest.mark.parametrize(
    ('asked', 'batch_size', 'num_cores', 'expected'),
    [(0, 16, 2, 2), (0, 16, 12, 8), (0, 5, 4, 1), (0, 5, 64, 5), (1, 16, 8, 1), (3, 16, 2, 3)],
)
def test_devices_are_as_asked_or_as_many_cores_as_share_a_batch_evenly(
    asked, batch_size, num_cores, expected
):
    assert cpu_devices.count(asked, batch_size, num_cores) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ('xla_flags', 'expected'), [('', '2'), ('--xla_force_host_platform_device_count=3', '3')]
)
def test_jax_sees_them_unless_xla_was_told_otherwise(xla_flags, expected):
    environment = os.environ | {'XLA_FLAGS': xla_flags, 'JAX_PLATFORMS': 'cpu'}
    command = [sys.executable, '-c', _COUNT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == expected, done.stderr
