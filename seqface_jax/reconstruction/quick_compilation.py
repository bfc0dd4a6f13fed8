"""How programs are compiled that run a few times only: quickly.

For a CPU, XLA's fusion emitters and LLVM's optimisation are four fifths of the time that compiling
takes. Programs made without them say the same but for rounding, and take two and a half times as
long to run.
"""

import functools

import jax

# Photos of one person up to which it pays: each takes 90 CPU ms more, compiling once 10 CPU s less.
MOST_PHOTOS = 16
# Options of XLA. JAX 0.12 has lost the second; with the first alone a photo takes 0.25 s more, and
# compiling once 3.5 CPU s less: too little.
OPTIONS = {'xla_backend_optimization_level': 0, 'xla_cpu_use_fusion_emitters': False}


def jit_of(quick):
    """Returns what compiles functions in place of jax.jit: that itself, or on a CPU a quick one.

    Where XLA does not know the options there is no quick one.
    """
    if not quick or jax.default_backend() != 'cpu':
        return jax.jit
    if not all(_is_known(name, value) for name, value in OPTIONS.items()):
        return jax.jit
    return functools.partial(jax.jit, compiler_options=OPTIONS)


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
