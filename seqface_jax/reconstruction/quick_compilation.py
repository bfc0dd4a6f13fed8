"""How programs are compiled that run a few times only: quickly.

For a CPU, XLA's fusion emitters and LLVM's optimisation are four fifths of the time that compiling
takes. Programs made without them say the same but for rounding, and take two and a half times as
long to run.
"""

import functools

import jax

# Photos of one person up to which it pays: each takes 90 CPU ms more, compiling once 10 CPU s less.
MOST_PHOTOS = 16
_OPTIONS = {'xla_backend_optimization_level': 0, 'xla_cpu_use_fusion_emitters': False}


def jit_of(quick):
    """Returns what compiles functions in place of jax.jit: that itself, or on a CPU a quick one."""
    if not quick or jax.default_backend() != 'cpu':
        return jax.jit
    return functools.partial(jax.jit, compiler_options=_OPTIONS)


def pays(opened):
    """Returns whether a video.FrameSource has so few frames that compiling is most of the wait."""
    return opened.kind == 'photos' and opened.count <= MOST_PHOTOS
