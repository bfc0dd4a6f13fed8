"""The bar that shows how far a training is, on the error stream."""

import sys

from tqdm import tqdm

from seqface_jax.training import distributed


def progress_bar(step, total):
    """Shows rate and time left; rarely where nobody watches, not at all for other processes."""
    if not distributed.is_first():
        return distributed.Silent()
    interval = 0.5 if sys.stderr.isatty() else 30.0
    return tqdm(
        initial=step, total=total, unit='step', mininterval=interval, maxinterval=2 * interval
    )
