"""3D faces in millimetres from any number of frames of one person."""

__version__ = '0.1.0'

from seqface_jax.commands import compiler_fault

compiler_fault.guard()  # Before JAX, which reads XLA_FLAGS once.
