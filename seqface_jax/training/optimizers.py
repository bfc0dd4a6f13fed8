"""Adam, as optax or as Keras writes it, or Muon; the rate falls in steps of whole epochs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqface_jax import errors
from seqface_jax.training.muon import muon

B1 = 0.9
B2 = 0.999
NAMES = ('adam', 'keras_adam', 'muon')
# Muon's products grow by the square of a matrix's shorter side: beyond this one Adam takes it.
_LARGEST_SIDE = 512


class KerasAdamState(NamedTuple):
    """What `scale_by_keras_adam` keeps: number of updates, first and second moment."""

    count: jax.Array
    mu: optax.Updates
    nu: optax.Updates


def create(config_optimizer, steps_per_epoch):
    """Builds the optimiser of a config.

    Args:
        config_optimizer: the section `optimizer` of the config.
        steps_per_epoch: optimiser steps in an epoch.

    Returns:
        An optax.GradientTransformation.

    Raises:
        UserError: optimizer.name is none of NAMES.
    """
    config = config_optimizer
    errors.check_choice(config.name, NAMES, 'optimizer.name')
    rate = schedule(config, steps_per_epoch)
    steps = []
    if config.l2:
        steps.append(optax.add_decayed_weights(config.l2, mask=_is_kernel))
    if config.clip_norm:
        steps.append(optax.clip_by_global_norm(config.clip_norm))
    if config.name == 'muon':
        return optax.chain(*steps, muon(rate, config.weight_decay, _is_not_huge))
    adam = scale_by_keras_adam if config.name == 'keras_adam' else optax.scale_by_adam
    steps.append(adam(b1=B1, b2=B2, eps=config.epsilon))
    if config.weight_decay:
        steps.append(optax.add_decayed_weights(config.weight_decay))
    return optax.chain(*steps, optax.scale_by_learning_rate(rate))


def _is_not_huge(path, leaf):
    del path
    columns = leaf.shape[-1]
    return min(leaf.size // columns, columns) <= _LARGEST_SIDE


def schedule(config_optimizer, steps_per_epoch):
    """Returns the learning rate of a config as a function of the step, counted from 0.

    With decay_every_epochs = 10 the rate falls after epochs 11, 21, 31, ..., as in the thesis,
    which changes it at the end of each epoch whose number, from 0, is a multiple of 10 and not 0.
    """
    config = config_optimizer
    by_epoch = optax.constant_schedule(config.learning_rate)
    if config.decay_every_epochs:
        by_epoch = optax.exponential_decay(
            config.learning_rate,
            transition_steps=config.decay_every_epochs * steps_per_epoch,
            decay_rate=config.decay_factor,
            transition_begin=steps_per_epoch,
            staircase=True,
        )
    # A boundary b of Optax's schedule counts from step b, as decay_at_steps does.
    by_step = optax.piecewise_constant_schedule(
        1.0, {step: config.decay_factor for step in config.decay_at_steps}
    )
    return lambda step: by_epoch(step) * by_step(step)


def moving_average(params, average, *, step, decay):
    """Returns the exponential average of the parameters after a step.

    Args:
        params: after the step.
        average: before it.
        step: steps taken, this one included or not.
        decay: how much of the average stays; less at first, so that the random start is forgotten.
    """
    decay = jnp.minimum(decay, step / (step + 9.0))
    return optax.incremental_update(params, average, step_size=1 - decay)


def _is_kernel(params):
    """Tells the weights of a network from its biases and gains."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def scale_by_keras_adam(b1=B1, b2=B2, eps=1e-7):
    """Rescales gradients as the Adam of Keras does: eps outside the bias correction.

    Keras adds eps to the square root of the uncorrected second moment ("epsilon hat" of Kingma
    and Ba, 2015, section 2), optax to that of the corrected one. The two differ for gradients
    that are not much larger than eps / sqrt(1 - b2^t), 3e-6 at the first step.

    Args:
        b1, b2: decay of the moments.
        eps: keeps the division finite.
    """

    def init(params):
        # Two trees of zeros: a buffer that stood in both could not be donated to the step.
        mu, nu = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return KerasAdamState(count=jnp.zeros([], jnp.int32), mu=mu, nu=nu)

    def update(updates, state, params=None):
        del params
        count = optax.safe_increment(state.count)
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * jnp.square(g), state.nu, updates)
        correction = jnp.sqrt(1 - jnp.float32(b2) ** count) / (1 - jnp.float32(b1) ** count)
        updates = jax.tree.map(lambda m, v: correction * m / (jnp.sqrt(v) + eps), mu, nu)
        return updates, KerasAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)
