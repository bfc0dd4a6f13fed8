"""Compiled networks, kept between programs, so that a network is compiled once per machine."""

import os

import jax

# Programs that are compiled in less are not kept: a photo needs some of a tenth of a second.
_MIN_COMPILE_S = 0.05


def turn_on():
    """Makes JAX keep what it compiles in the user's cache folder; for entry scripts.

    The folder is $JAX_COMPILATION_CACHE_DIR where that is set, else seqface_jax/ in
    $XDG_CACHE_HOME or ~/.cache.

    Returns:
        str, the folder; None where it cannot be written to, and nothing is kept.
    """
    folder = default_folder()
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    jax.config.update('jax_compilation_cache_dir', folder)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', _MIN_COMPILE_S)
    return folder


def default_folder():
    """Returns the folder that `turn_on` would use."""
    home = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
    return os.environ.get('JAX_COMPILATION_CACHE_DIR') or os.path.join(home, 'seqface_jax')
