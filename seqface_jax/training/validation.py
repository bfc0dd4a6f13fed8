"""What is done after an epoch with the people of validation: the loss, and the calibration."""

import jax
import numpy as np

from seqface_jax import models
from seqface_jax.training import distributed, sums

EPOCH = 0  # The same sequences at each validation.


def mean_losses(config, step, devices, split):
    """Averages what `steps.eval_step` sums up over a split, every real example once.

    Args:
        config: of the run.
        step: maps a batch that is split over the devices to its sums, as `steps.eval_step`.
        devices: Devices.
        split: input_pipeline.Split.

    Returns:
        dict of loss, error_mm and the terms of the loss, and of squared_error and variance where
        they are summed.
    """
    totals = {}
    for batch in split.batches(config.train.seed, EPOCH, share=distributed.share()):
        batch = devices.deal(batch, config)
        totals = sums.add(totals, jax.device_get(step(batch)))
    return sums.means(totals)


def calibrate(variables, validation):
    """Scales the variances that a network states by how far it is off on people of validation.

    In training dropout and augmentation make a network worse than it is without, and it learns to
    say so.

    Args:
        variables: collections of arrays, as for `model.apply`.
        validation: of `mean_losses`, with those variables.

    Returns:
        the variables, with another constant VARIANCE_SCALE if they have it.
    """
    constants = variables.get('constants', {})
    if models.VARIANCE_SCALE not in constants:
        return variables
    ratio = validation['squared_error'] / validation['variance']
    scale = constants[models.VARIANCE_SCALE] * np.float32(ratio)
    return variables | {'constants': constants | {models.VARIANCE_SCALE: scale}}
