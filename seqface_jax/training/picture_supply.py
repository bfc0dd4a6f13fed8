"""The batches that the correspondence network is trained and validated on, from drawn pictures."""

import os
from typing import NamedTuple

import numpy as np

from seqface_jax import files
from seqface_jax.data import pictures
from seqface_jax.training import point_losses

VALIDATION_SHARDS = 1  # The first ones; no person of theirs is trained on.
_VALIDATION_BATCH = 100  # Crops.


class Supply(NamedTuple):
    """The pictures of a training.

    Attributes:
        training, held_out: pictures.Pictures, of different people.
        mirror: [P], the number of each template point's mirror image.
    """

    training: pictures.Pictures
    held_out: pictures.Pictures
    mirror: np.ndarray

    def constants(self, config):
        """Computes what the network knows: layout_mean [P, 2] and layouts [L, P, 2]."""
        mean = pictures.mean_layout(self.training)
        size, count = config.data.image_size, config.model.num_layouts
        layouts = pictures.layouts(self.training, size, self.mirror, count, mean)
        return {'layout_mean': mean, 'layouts': layouts}

    def batches(self, config, constants, first_step):
        """Yields training batches for ever; that of a step depends on (seed, step) alone.

        Args:
            config: of the run.
            constants: layout_mean and layouts, numpy arrays.
            first_step: steps that have been taken.
        """

        def make(rng):
            count = config.data.batch_size
            share = config.data.plain_share
            indices = pictures.draw_indices(self.training, rng, count, share)
            return self._batch(self.training, indices, config, rng, constants)

        return pictures.ahead(make, config.train.seed, first_step)

    def validation_batches(self, config, constants):
        """Yields the held-out pictures in order, each time the same crops."""
        for start in range(0, len(self.held_out), _VALIDATION_BATCH):
            rng = np.random.default_rng([0, start])
            indices = np.arange(start, min(start + _VALIDATION_BATCH, len(self.held_out)))
            yield self._batch(self.held_out, indices, config, rng, constants)

    def _batch(self, source, indices, config, rng, constants):
        batch = pictures.make_batch(
            source,
            indices,
            config.data.image_size,
            self.mirror,
            rng,
            augment=True,
            reference=constants['layout_mean'],
        )
        return batch | point_losses.draw_starts(rng, len(indices), constants['layouts'])


def read(folder):
    """Reads the pictures that data_prep.hard_pictures has drawn; returns a Supply.

    Raises:
        UserError: there are none, or they cannot be read.
    """
    mirror = _read_points(folder)['mirror']
    held_out = pictures.Pictures(folder, 0, VALIDATION_SHARDS)
    training = pictures.Pictures(folder, VALIDATION_SHARDS)
    shared = np.isin(training.person, held_out.person)
    if shared.any():  # The person on the border of two shards is not trained on.
        training.is_face[shared] = False
        training.seen[shared] = False
    return Supply(training, held_out, mirror)


def _read_points(folder):
    advice = '`python -m data_prep.hard_pictures` writes it beside the pictures'
    return files.read_arrays(os.path.join(folder, 'points.npz'), advice)
