"""How programs are compiled that run a few times only: quickly, and traced once per machine.

For a CPU, XLA's fusion emitters and LLVM's optimisation are four fifths of the time that compiling
takes. Programs made without them say the same but for rounding, and take two and a half times as
long to run.
"""

import functools
import os

import jax

from seqface_jax.reconstruction.kept_programs import KeptFunction

# Photos of one person up to which it pays: each takes 90 CPU ms more, compiling once 10 CPU s less.
MOST_PHOTOS = 16
# Options of XLA. JAX 0.12 has lost the second; with the first alone a photo takes 0.25 s more, and
# compiling once 3.5 CPU s less: too little.
OPTIONS = {'xla_backend_optimization_level': 0, 'xla_cpu_use_fusion_emitters': False}
_PROGRAMS = 'programs'  # Folder for them, in that of JAX's compilation cache.


def jit_of(quick, closed_over=''):
    """Returns what compiles functions in place of jax.jit: that itself, or on a CPU a quick one.

    Where XLA does not know the options there is no quick one. Where JAX's compilation cache is on,
    the quick one keeps the functions' programs too, see kept_programs.py.

    Args:
        quick: whether a quick one is asked for.
        closed_over: str, all that the functions read besides their arguments.
    """
    if not quick or jax.default_backend() != 'cpu':
        return jax.jit
    if not all(_is_known(name, value) for name, value in OPTIONS.items()):
        return jax.jit
    folder = jax.config.jax_compilation_cache_dir
    if folder is None or not jax.config.jax_enable_compilation_cache:
        return functools.partial(jax.jit, compiler_options=OPTIONS)
    folder = os.path.join(folder, _PROGRAMS)
    return functools.partial(KeptFunction, folder=folder, closed_over=closed_over, options=OPTIONS)


@functools.cache
def _is_known(name, value):
    """Returns whether this version of XLA has an option."""
    try:
        jax.jit(lambda number: number, compiler_options={name: value}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def pays(opened):
    """Returns whether a video.FrameSource has so few frames that compiling is most of the wait."""
    return opened.kind == 'photos' and opened.count <= MOST_PHOTOS
