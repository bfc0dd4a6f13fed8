"""Finite outputs and gradients where an input says little: no network may lose a run to one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import tiny
from seqface_jax import checkpoints, models
from seqface_jax.geometry import alignment
from seqface_jax.models import normalization
from seqface_jax.training import losses
from tests.helpers.compiling import quick_jit

SIDE = 64


@pytest.fixture(scope='module')
def network():
    """Returns the model and its variables; the mean map is a sphere of 90 mm."""
    config = tiny.get_config()
    model = models.create(config.model, SIDE)
    return model, quick_jit(lambda: checkpoints.init_variables(model, SIDE, 0))()


@pytest.fixture(scope='module')
def step(network):
    """Returns a function of frames, mask and the target's mm: loss and largest gradient."""
    model, variables = network

    def forward(params, frames):
        prediction, _ = model.apply(
            variables | {'params': params},
            frames,
            train=True,
            mutable=['batch_stats'],
            rngs={'dropout': jax.random.key(0)},
        )
        return prediction

    def loss_fn(params, frames, mask, target_mm):
        frames = normalization.normalize_frames(frames, 'min_max_bgr')
        prediction = forward(params, frames)
        side = prediction.position_map.shape[-2]
        target = jnp.full((frames.shape[0], side, side, 3), target_mm)
        loss = losses.masked_l1(prediction.position_map, target, mask)
        if prediction.log_variance is not None:
            nll = losses.gaussian_nll(
                prediction.position_map, prediction.log_variance, target, mask
            )
            loss += nll
        return loss.mean(), side

    side = jax.eval_shape(
        forward, variables['params'], jnp.zeros((1, 1, SIDE, SIDE, 3))
    ).position_map.shape[-2]
    grad = quick_jit(jax.value_and_grad(lambda *a: loss_fn(*a)[0]))

    def run(frames, mask, target_mm=80.0):
        loss, grads = grad(variables['params'], frames, mask(side), target_mm)
        return float(loss), max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads))

    return run


def whole(side):
    return jnp.ones((1, side, side), bool)


def empty(side):
    return jnp.zeros((1, side, side), bool)


def one_pixel(side):
    return empty(side).at[0, side // 2, side // 2].set(True)


def noise(frames):
    return np.random.default_rng(0).integers(0, 256, (1, frames, SIDE, SIDE, 3), np.uint8)


def black(frames):
    return np.zeros((1, frames, SIDE, SIDE, 3), np.uint8)


def alike(frames):
    return np.repeat(noise(1), frames, axis=1)


def one_bright_pixel(frames):
    photos = black(frames)
    photos[:, :, 30, 30] = 255
    return photos


@pytest.mark.parametrize(
    'frames, mask',
    [
        (noise(2), whole),
        (noise(2), empty),
        (noise(2), one_pixel),
        (black(2), whole),
        (np.full_like(black(2), 255), whole),
        (alike(2), whole),
        (one_bright_pixel(2), one_pixel),
        (noise(1), whole),
        (black(1), empty),
    ],
    ids=['noise', 'empty mask', 'one pixel', 'black', 'white', 'alike', 'single-pixel face',
         'one frame', 'one black frame'],
)  # fmt: skip
def test_loss_and_gradients_are_finite(step, frames, mask):
    loss, largest = step(frames, mask)
    assert np.isfinite(loss) and np.isfinite(largest)
    assert (loss == 0 and largest == 0) == (mask is empty)


@pytest.mark.parametrize('target_mm', [0.0, 1e-6, 1e6, 1e9])
def test_losses_of_any_scale_have_finite_gradients(step, target_mm):
    loss, largest = step(noise(2), whole, target_mm)
    assert np.isfinite(loss) and np.isfinite(largest) and largest > 0


def test_the_same_step_twice_is_the_same_bit_for_bit(step):
    assert step(noise(2), whole) == step(noise(2), whole)


def test_every_answer_to_a_sequence_of_black_frames_is_finite(network):
    model, variables = network
    prediction = quick_jit(functools.partial(model.apply, train=False))(
        variables, jnp.zeros((1, 2, SIDE, SIDE, 3))
    )
    assert np.isfinite(prediction.position_map).all()


@pytest.mark.parametrize('points', [np.zeros((5, 3)), np.ones((1, 3)), np.eye(3)[:2]])
def test_aligning_points_that_fix_no_rotation_stays_finite(points):
    result = alignment.kabsch(points, points + 1)
    assert all(np.isfinite(np.asarray(part)).all() for part in result)
