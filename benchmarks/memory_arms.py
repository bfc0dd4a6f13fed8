"""The arms of `benchmarks.correspondence_memory`, and how the memory is trained as one of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from benchmarks.memory_sequences import NUM_FRAMES, taken
from seqface_jax.training import point_losses

PLAIN, RESET, MEMORY = 'network as it is', 'state reset at every frame', 'ConvLSTM over frames'
BATCH = 24  # Sequences in a training step, and in one of scoring.
_LEARNING_RATE, _CLIP_NORM = 5e-4, 3.0
_WARM_UP = 0.1  # Share of the steps in which the rate rises: the first ones lead away from zero.


def answer(memory, params, arm, looks, layouts):
    """Returns the first answer that an arm says, Correspondence of [B, T, ...].

    Args:
        memory: CorrespondenceMemory.
        params: its variables, or None for PLAIN.
        arm: PLAIN, RESET or MEMORY.
        looks: memory_sequences.Looks of B sequences.
        layouts: [L, P, 2].
    """
    maps = looks.maps.astype(jnp.float32)
    if arm == PLAIN:
        return looks.first
    if arm == MEMORY:
        return memory.apply(params, maps, looks.first, layouts)[1]
    alone = jax.tree.map(lambda x: x.reshape(-1, 1, *x.shape[2:]), (maps, looks.first))
    _, found = memory.apply(params, *alone, layouts)
    return jax.tree.map(lambda x: x.reshape(*maps.shape[:2], *x.shape[2:]), found)


def flat(tree):
    """Returns arrays [B, T, ...] as [B T, ...]."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def train(memory, arm, kinds, layouts, num_steps, weights, seed=0):
    """Trains the memory as an arm; the frames of a sequence come in any order.

    Args:
        memory: CorrespondenceMemory.
        arm: RESET or MEMORY.
        kinds: list of Looks, of which each batch has the same number of sequences.
        layouts: [L, P, 2].
        num_steps: optimiser steps.
        weights: train.loss_weights of the network's config.
        seed: of parameters and batches.

    Returns:
        its variables, and the loss of each step.
    """
    rng = np.random.default_rng(seed)
    warm_up = max(1, round(_WARM_UP * num_steps))
    rate = optax.warmup_cosine_decay_schedule(0.0, _LEARNING_RATE, warm_up, num_steps)
    tx = optax.chain(optax.clip_by_global_norm(_CLIP_NORM), optax.adam(rate))

    def draw():
        parts = [_drawn(looks, rng, BATCH // len(kinds)) for looks in kinds]
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)

    def loss_of(params, looks, layouts):
        said = flat(answer(memory, params, arm, looks, layouts))
        places, seen, is_face = flat((looks.places, looks.seen, looks.is_face))
        nll, distance = point_losses.point_losses(said, places)
        weight = is_face[:, None] * jnp.where(seen > 0, 1.0, point_losses.HIDDEN_WEIGHT)
        points = jnp.sum((weights['nll'] * nll + weights['distance'] * distance) * weight)
        layout = jnp.sum(point_losses.layout_loss(said, places, layouts) * is_face)
        return points / jnp.sum(weight) + weights['layout'] * layout / jnp.sum(is_face)

    @jax.jit
    def step(params, opt_state, looks, layouts):  # A constant would be folded for seconds.
        loss, grads = jax.value_and_grad(loss_of)(params, looks, layouts)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    one = draw()
    started = (one.maps.astype(np.float32), one.first, layouts)
    params = jax.jit(memory.init)(jax.random.key(seed), *started)
    opt_state, losses = tx.init(params), []
    for _ in tqdm(range(num_steps), unit='step', desc=arm):
        params, opt_state, loss = step(params, opt_state, draw(), layouts)
        losses.append(float(loss))
    return params, losses


def _drawn(looks, rng, count):
    """Returns `count` sequences of Looks, the frames with a face shuffled before the others."""
    chosen = rng.integers(0, len(looks.is_face), count)
    order = np.argsort(rng.random((count, NUM_FRAMES)) + 2 * ~looks.is_face[chosen], axis=1)
    return taken(looks, chosen[:, None], order)
