"""A fault of XLA's compiler for CPUs, and the setting that avoids it.

jaxlib from 0.10.2, the last release for Python 3.11, to 0.12.0.1 computes some programs of a
convolution, a maximum over windows and a residual sum wrongly on CPUs, where it hands reductions to
the library YNNPACK (jax-ml/jax issue 39103, openxla/xla issue 48714). `guard` tells it to keep
them. Other releases need not know the setting, and XLA ends a program at an unknown one.
"""

import importlib.metadata
import os

# Releases of jaxlib that have the fault; all of them know the setting.
FAULTY_RELEASES = ('0.10.2', '0.11.0', '0.11.1', '0.11.2', '0.12.0', '0.12.0.1')
SETTING = '--xla_cpu_experimental_ynn_fusion_type'
FLAG = f'{SETTING}=-LIBRARY_FUSION_TYPE_REDUCE'
GUARDED, UNGUARDED, NOT_FAULTY = 'guarded', 'unguarded', 'not faulty'


def guard():
    """Sets the flag in XLA_FLAGS where this jaxlib needs it; before JAX computes anything.

    What XLA_FLAGS already says of this setting stays.
    """
    if is_faulty() and SETTING not in os.environ.get('XLA_FLAGS', ''):
        os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {FLAG}'.strip()


def is_faulty():
    """Returns whether the installed jaxlib has the fault."""
    try:
        return importlib.metadata.version('jaxlib') in FAULTY_RELEASES
    except importlib.metadata.PackageNotFoundError:
        return False


def state():
    """Returns GUARDED, UNGUARDED or NOT_FAULTY, by the release and XLA_FLAGS."""
    if not is_faulty():
        return NOT_FAULTY
    return GUARDED if FLAG in os.environ.get('XLA_FLAGS', '') else UNGUARDED


def computes_rightly():
    """Returns whether JAX computes, on the CPU, a program that shows the fault."""
    import jax
    import numpy as np

    values = np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32)

    def largest(values):
        return jax.lax.reduce_window(
            values, -np.inf, jax.lax.max, (2, 1), (2, 1), ((0, 0), (0, 0)), base_dilation=(1, 2)
        )

    spread = np.full((64, 255), -np.inf, np.float32)  # A hole between every two columns.
    spread[:, ::2] = values
    expected = np.maximum(spread[::2], spread[1::2])
    with jax.default_device(jax.local_devices(backend='cpu')[0]):
        return np.array_equal(jax.jit(largest)(values), expected)
