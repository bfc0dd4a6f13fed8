import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqface_jax.training import losses


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


def _frame_batch():
    """Two frames of 4 x 4: half of the first has moved by 2 mm, the second has no map."""
    neutral = np.full((1, 4, 4, 3), 50, np.float32)
    batch = {
        'position_map': neutral,
        'mask': np.ones((1, 4, 4), bool),
        'frame_map': np.repeat(neutral[:, None], 2, axis=1),
        'frame_mask': np.zeros((1, 2, 4, 4), bool),
    }
    batch['frame_map'][:, 0, 2:, :, 1] -= 2
    batch['frame_mask'][:, 0] = True
    return batch


def test_a_frame_s_face_is_judged_by_how_it_moves_where_both_maps_are_known():
    batch = _frame_batch()
    neutral = jnp.full((1, 2, 2, 2, 3), 77.0)  # Another face, at half the side.
    np.testing.assert_allclose(losses.frame_l1(neutral, neutral, batch), 1.0)
    opened = neutral.at[:, :, 1, :, 1].add(-2)
    np.testing.assert_allclose(losses.frame_l1(opened, neutral, batch), 0, atol=1e-6)
    batch['mask'][:, 2:] = False
    np.testing.assert_allclose(losses.frame_l1(neutral, neutral, batch), 0, atol=1e-6)


def test_the_face_of_the_last_frame_alone_is_judged_by_that_frame():
    last = jnp.zeros((1, 1, 2, 2, 3))
    assert losses.frame_l1(last + 9, last, _frame_batch()) == 0  # It has no map.


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


def test_squared_errors_and_stated_variances_are_averaged_over_the_valid_pixels():
    target = jnp.zeros((1, 2, 2, 3))
    mask = jnp.array([[[True, True], [True, False]]])
    predicted = jnp.array([1.0, 2.0, 3.0, 100.0]).reshape(1, 1, 2, 2, 1) * jnp.ones(3)
    log_variance = jnp.log(jnp.array([1.0, 4.0, 7.0, 100.0])).reshape(1, 1, 2, 2)
    squared, variance = losses.error_and_variance(predicted, log_variance, target, mask)
    np.testing.assert_allclose(squared, [14 / 3], rtol=1e-6)
    np.testing.assert_allclose(variance, [4.0], rtol=1e-6)


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
    batch['mask'] = jnp.ones((1, 128, 128), bool)
    for kind, side in (('position_map', 48), ('points', 32), ('mesh', 128)):
        with pytest.raises(ValueError):
            losses.ordered_target(batch, kind, side)


def test_a_finer_map_has_rows_and_columns_halfway_between():
    maps = jnp.arange(4.0).reshape(2, 2, 1)
    mask = jnp.array([[True, True], [True, False]])
    fine, fine_mask = losses.at_side(maps, mask, 4)
    expected = [[0, 0.5, 1, 1], [1, 1.5, 2, 2], [2, 2.5, 3, 3], [2, 2.5, 3, 3]]
    np.testing.assert_array_equal(fine[..., 0], expected)
    np.testing.assert_array_equal(fine_mask[0], [True, True, True, True])
    np.testing.assert_array_equal(fine_mask[1], [True, False, False, False])
    back, back_mask = losses.at_side(fine, fine_mask, 2)
    np.testing.assert_array_equal(back, maps)
    np.testing.assert_array_equal(back_mask, mask)


def test_a_pair_is_compared_with_its_frontal_frame():
    image_map = jnp.arange(2.0).reshape(1, 2, 1, 1, 1)
    batch = {'image_map': image_map, 'image_mask': jnp.ones((1, 2, 1, 1), bool)}
    target, mask = losses.image_target(batch, 1, of_first=True)
    assert target.shape == (1, 1, 1, 1, 1) and float(target.sum()) == 0 and mask.shape[1] == 1
    assert losses.image_target(batch, 1, of_first=False)[0].shape[1] == 2


def test_a_landmark_counts_as_its_weight():
    target = jnp.zeros((1, 1, 1, 3, 3))
    predicted = target.at[..., 0, 0].set(1.0).at[..., 2, 0].set(9.0)
    mask = jnp.array([True, True, False]).reshape(1, 1, 1, 3)
    loss = losses.weighted_image(predicted, target, mask, jnp.array([[16.0, 4.0, 100.0]]))
    np.testing.assert_allclose(loss, 16 / 20)
    np.testing.assert_allclose(losses.image_mse(predicted, target, mask), 1 / 3 / 2)


def test_an_undecided_voxel_costs_log_2_and_a_sure_one_nothing():
    inside = jnp.zeros((1, 2, 2, 2), bool).at[0, 0].set(True)
    undecided = losses.voxel_cross_entropy(jnp.zeros((1, 3, 2, 2, 2)), inside)
    np.testing.assert_allclose(undecided, np.log(2), rtol=1e-6)
    sure = jnp.where(inside, 50.0, -50.0)[:, None]
    np.testing.assert_allclose(losses.voxel_cross_entropy(sure, inside), 0, atol=1e-6)
