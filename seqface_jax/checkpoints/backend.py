"""The devices that JAX computes on: asked for before a failure can pass for another one."""

import os

from seqface_jax import errors


def require_devices():
    """Returns jax.devices().

    Raises:
        UserError: JAX finds none, such as where JAX_PLATFORMS names a kind that is not there.
    """
    import jax

    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # AssertionError: a plugin is missing.
        raise errors.UserError(no_device(error)) from error


def no_device(error):
    """Returns the sentence for an error with which JAX has found no device."""
    reason = ' '.join(str(error).split())[:200] or 'no reason given'
    wanted = os.environ.get('JAX_PLATFORMS')
    if wanted:
        return (
            f'JAX finds no device of the kind that JAX_PLATFORMS={wanted} asks for ({reason}): '
            'unset JAX_PLATFORMS or set it to cpu; `python -m seqface_jax.doctor` tells what is '
            'there'
        )
    return (
        f'JAX finds no device ({reason}): set JAX_PLATFORMS=cpu to do without a GPU; `python -m '
        'seqface_jax.doctor` tells what is there'
    )
