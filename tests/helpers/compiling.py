"""Compiling for tests: unoptimised code, where to compile costs more than to run."""

import functools

import jax

FAST = {'xla_backend_optimization_level': 0}
quick_jit = functools.partial(jax.jit, compiler_options=FAST)
