"""Packages that only some uses need, and the extras of the installation that bring them."""

import importlib.util
from typing import NamedTuple

from seqface_jax.errors import UserError


class Extra(NamedTuple):
    """What `pip install 'seqface-jax[NAME]'` adds.

    Attributes:
        purpose: str, what it is for.
        modules: names to import.
    """

    purpose: str
    modules: tuple


EXTRAS = {
    'train': Extra(
        'training and evaluating',
        ('optax', 'tensorflow_datasets', 'array_record', 'grain', 'tensorboardX', 'igl'),
    ),
    'data': Extra('preparing raw scans', ('open3d', 'tensorflow_datasets', 'array_record')),
    'keras': Extra('importing a thesis checkpoint', ('h5py',)),
    'h264': Extra('an overlay.mp4 that browsers play', ('imageio_ffmpeg',)),
    'view': Extra('the live view', ('viser',)),
}


def require(name):
    """Raises UserError, with what to install, unless the modules of an extra are there."""
    missing = [m for m in EXTRAS[name].modules if importlib.util.find_spec(m) is None]
    if missing:
        raise UserError(
            f'{EXTRAS[name].purpose} needs {", ".join(missing)}: run ./setup.sh train, or: '
            f"pip install 'seqface-jax[{name}]'"
        )
