import numpy as np
import pytest

from configs import default
from seqface_jax.errors import UserError
from seqface_jax.training import objective
from seqface_jax.training.weighted_losses import Loss, weighted_sum

_DECLARED = (Loss('first', lambda given: given), Loss('second', lambda given: 10 * given))


def test_the_loss_is_the_weighted_sum_and_the_terms_are_without_weights():
    loss, terms = weighted_sum(_DECLARED, {'first': 2.0, 'second': 0.5}, np.ones(3))
    np.testing.assert_array_equal(loss, [7, 7, 7])
    np.testing.assert_array_equal(terms['first'], [1, 1, 1])
    np.testing.assert_array_equal(terms['second'], [10, 10, 10])


def test_a_loss_of_weight_0_is_not_computed():
    unread = Loss('unread', lambda given: given['is not there'])
    _, terms = weighted_sum((*_DECLARED, unread), dict(first=1.0, second=0.0, unread=0.0), 4.0)
    assert terms == {'first': 4.0}


def test_a_config_without_a_loss_is_refused():
    with pytest.raises(UserError, match='every weight in train.loss_weights is 0'):
        weighted_sum(_DECLARED, {'first': 0.0, 'second': 0.0}, 1.0)


def test_the_default_has_the_weight_of_every_loss_and_no_other():
    weights = default.get_config().train.loss_weights
    assert set(weights) == {loss.name for loss in objective.LOSSES}


def test_a_batch_keeps_what_the_losses_need():
    config = default.get_config()
    assert objective.batch_fields(config) == ['position_map', 'mask']
    config.data.target = 'points'
    assert objective.batch_fields(config) == ['points']
    config.train.loss_weights.update(masked_l1=0.0, image_mse=1.0, voxels=1.0)
    assert set(objective.batch_fields(config)) == {
        'points',
        'image_map',
        'image_mask',
        'position_map',
    }


def test_all_answers_are_needed_unless_every_loss_is_of_the_last():
    config = default.get_config()
    assert not objective.last_only(config)
    config.train.loss_weights.update(masked_l1=0.0, index_mse=1.0)
    assert objective.last_only(config)
    config.train.loss_weights.gaussian_nll = 0.1
    assert not objective.last_only(config)


def test_a_loss_names_the_constant_that_its_network_lacks():
    config = default.get_config()
    config.train.loss_weights.index_mse = 1.0
    with pytest.raises(UserError, match=r"index_mse needs a model with scale_mm; 'seqface' has"):
        objective.check(config, {})
    objective.check(config, {'scale_mm': 100})
