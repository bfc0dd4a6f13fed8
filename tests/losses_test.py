import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax import losses


def test_masked_l1_of_a_3_4_shift_is_5_mm():
    target = jnp.zeros((2, 4, 4, 3))
    predicted = jnp.broadcast_to(jnp.array([3.0, 0.0, 4.0]), (2, 5, 4, 4, 3))
    np.testing.assert_allclose(
        losses.masked_l1(predicted, target, jnp.ones((2, 4, 4), bool)), [5.0, 5.0]
    )


def test_masked_l1_counts_every_frame_and_no_invalid_pixel():
    mask = np.zeros((1, 2, 2), bool)
    mask[0, 0, 1] = True
    predicted = np.full((1, 2, 2, 2, 3), 1e6, np.float32)
    predicted[0, 0, 0, 1], predicted[0, 1, 0, 1] = [1, 0, 0], [0, 3, 0]
    value = losses.masked_l1(predicted, jnp.zeros((1, 2, 2, 3)), jnp.asarray(mask))
    np.testing.assert_allclose(value, [2.0])


def test_masked_l1_without_valid_pixels_is_0():
    empty = jnp.zeros((1, 2, 2), bool)
    assert losses.masked_l1(jnp.ones((1, 1, 2, 2, 3)), jnp.zeros((1, 2, 2, 3)), empty) == 0


def test_the_gradient_of_a_perfect_prediction_is_0():
    grad = jax.grad(lambda x: losses.distance_mm(x, jnp.zeros((4, 3))).sum())(jnp.zeros((4, 3)))
    np.testing.assert_array_equal(grad, 0)


def test_index_mse_looks_at_the_last_frame_only_in_units_of_the_scale():
    predicted = np.full((1, 3, 4, 4, 3), 1e6, np.float32)
    predicted[:, -1] = 20
    value = losses.index_mse(predicted, jnp.zeros((1, 4, 4, 3)), 100.0)
    np.testing.assert_allclose(value, [0.04], rtol=1e-6)


def test_the_likelihood_is_best_where_the_variance_is_the_mean_square():
    predicted = jnp.zeros((1, 1, 1, 1, 3))
    target = jnp.array([1.0, 2.0, 2.0]).reshape(1, 1, 1, 3)  # Mean square 3.
    mask = jnp.ones((1, 1, 1), bool)

    def nll(log_variance):
        full = jnp.full((1, 1, 1, 1), log_variance)
        return losses.gaussian_nll(predicted, full, target, mask)[0]

    np.testing.assert_allclose(nll(0.0), 1.5)
    np.testing.assert_allclose(jax.grad(nll)(jnp.log(3.0)), 0, atol=1e-6)


def test_the_likelihood_does_not_move_the_points():
    target, mask = jnp.ones((1, 2, 2, 3)), jnp.ones((1, 2, 2), bool)
    grad = jax.grad(lambda x: losses.gaussian_nll(x, jnp.zeros((1, 1, 2, 2)), target, mask).sum())(
        jnp.zeros((1, 1, 2, 2, 3))
    )
    np.testing.assert_array_equal(grad, 0)


@pytest.mark.parametrize('side', [128, 64, 32])
def test_a_coarse_map_target_is_strided(side):
    position_map = np.arange(128 * 128 * 3, dtype=np.float32).reshape(1, 128, 128, 3)
    mask = position_map[..., 0] % 5 > 0
    batch = {'position_map': position_map, 'mask': mask}
    target, valid = losses.ordered_target(batch, 'position_map', side)
    stride = 128 // side
    np.testing.assert_array_equal(target, position_map[:, ::stride, ::stride])
    np.testing.assert_array_equal(valid, mask[:, ::stride, ::stride])


def test_coarse_points_are_evenly_spaced_and_keep_their_order():
    points = np.broadcast_to(np.arange(16384.0)[None, :, None], (1, 16384, 3))
    target, mask = losses.ordered_target({'points': jnp.asarray(points)}, 'points', 32)
    np.testing.assert_array_equal(target[..., 0].ravel(), np.arange(0, 16384, 16))
    assert mask.shape == (1, 32, 32) and mask.all()


def test_a_side_that_does_not_fit_raises():
    batch = {'position_map': jnp.zeros((1, 128, 128, 3)), 'points': jnp.zeros((1, 100, 3))}
    for kind, side in (('position_map', 48), ('points', 32), ('mesh', 128)):
        with pytest.raises(ValueError):
            losses.ordered_target(batch, kind, side)
