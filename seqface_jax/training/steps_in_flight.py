"""The last steps, whose results the host has not waited for yet."""

import jax

from seqface_jax.training import sums

_MOST = 20  # Steps that are started before the first of them is waited for.


class StepsInFlight:
    """Collects the metrics of steps, some steps late, so that the devices need not wait."""

    def __init__(self, platform):
        """Takes the kind of the devices: 'cpu', 'gpu', ..."""
        # Several steps in flight on forced CPU devices wait for each other for ever.
        self._most = 1 if platform == 'cpu' else _MOST
        self._steps = []

    def add(self, step, metrics):
        """Takes the metrics of `steps.train_step` as they are, on the devices."""
        self._steps.append((step, metrics))

    @property
    def is_full(self):
        """Whether it is time to `collect`."""
        return len(self._steps) >= self._most

    def collect(self, progress):
        """Adds the steps to the sums of the epoch; returns the last one's metrics, or None.

        Raises:
            UserError: a loss or a gradient is not finite.
        """
        metrics = None
        for step, metrics in jax.device_get(self._steps):
            sums.require_finite(step, metrics)
            progress.sums = sums.add(progress.sums, metrics['sums'])
        self._steps = []
        return metrics
