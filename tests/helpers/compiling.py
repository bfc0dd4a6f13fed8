"""How tests compile: without optimisation, for to compile costs more than to run, and once.

A compiled program is kept in a folder that all processes of a run, and later runs, share. JAX finds
it by the program, the releases, the compiler's options and XLA_FLAGS: what was compiled without the
guard against the compiler's fault (commands/compiler_fault.py) is never taken for what is compiled
with it. A test of the compiled program itself compiles `as_shipped`.

Where the release has them, XLA's older emitters of code are used: they compile the gradient of a
small network in a third of the time of the newer ones, which set up a compiler for every fusion.
Nor is a program cut into parts that are compiled side by side: each one costs something.
Programs are written down in one MLIR context after the other, where JAX makes a new one for each:
of a program of one operation that is a fifth of what it costs.
"""

import contextlib
import functools
import importlib.metadata
import os
import threading
from unittest import mock

import jax
from jax._src import compiler
from jax._src.interpreters import mlir
from jax.experimental.compilation_cache import compilation_cache

# Unoptimised also where a test compiles as_shipped: for what only prepares it.
quick_jit = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})
_UNOPTIMISED = {'jax_disable_most_optimizations': True}
_KEEP_ALL = {
    'jax_persistent_cache_min_compile_time_secs': 0.0,
    'jax_persistent_cache_min_entry_size_bytes': -1,
}
_EMITTERS = 'xla_cpu_use_fusion_emitters'
_PARTS = 'xla_cpu_parallel_codegen_split_count'
# The release of jaxlib, the last for Python 3.11, that is known to have these settings; 0.12.0.1
# has the emitters' no more, and XLA ends a program at an unknown one.
_KNOWING_RELEASE = '0.10.2'
_PROGRAMS_OF_A_CONTEXT = 100  # A context keeps the constants of all its programs.
_kept = threading.local()
_LARGEST_BYTES = 2**30  # A folder that has grown larger is emptied before a run.


def set_up(folder=None):
    """Sets JAX up in this process and, by the environment, in those that it starts.

    Called before JAX compiles anything.

    Args:
        folder: of the compiled programs; None keeps none.
    """
    options = dict(_UNOPTIMISED)
    if folder is not None:
        options |= _KEEP_ALL | {'jax_compilation_cache_dir': str(folder)}
    for name, value in options.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)
    flags = os.environ.get('XLA_FLAGS', '')
    if importlib.metadata.version('jaxlib') == _KNOWING_RELEASE and _EMITTERS not in flags:
        os.environ['XLA_FLAGS'] = f'{flags} --{_EMITTERS}=false --{_PARTS}=1'.strip()
    mlir.make_ir_context = _kept_context


def empty_if_large(folder):
    """Removes the compiled programs in `folder` (pathlib.Path) if they take over 1 GiB."""
    paths = [path for path in folder.rglob('*') if path.is_file()]
    if sum(path.stat().st_size for path in paths) > _LARGEST_BYTES:
        for path in paths:
            path.unlink()


@contextlib.contextmanager
def as_shipped():
    """Compiles anew what is called inside, optimised as for a user, and keeps none of it."""
    options = {
        'jax_disable_most_optimizations': jax.config.read('jax_disable_most_optimizations'),
        'jax_enable_compilation_cache': jax.config.jax_enable_compilation_cache,
    }
    try:
        for name in options:
            jax.config.update(name, False)
        jax.clear_caches()
        compilation_cache.reset_cache()  # JAX asks only once whether it keeps programs.
        with mock.patch.object(compiler, 'get_compile_options', _shipped_options):
            yield
    finally:
        for name, value in options.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def _kept_context(make=mlir.make_ir_context):
    """Returns the MLIR context of this thread, a new one after some programs."""
    _kept.uses = getattr(_kept, 'uses', -1) + 1
    if _kept.uses % _PROGRAMS_OF_A_CONTEXT == 0:
        _kept.context = make()
    return _kept.context


def _shipped_options(*args, get=compiler.get_compile_options, **kwargs):
    """Returns JAX's options of a compilation, with the emitters of a user's program."""
    options = get(*args, **kwargs)
    if _EMITTERS in os.environ.get('XLA_FLAGS', ''):
        options.env_option_overrides = [*options.env_option_overrides, (_EMITTERS, True)]
    return options
