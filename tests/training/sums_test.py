import numpy as np
import pytest

from seqface_jax.errors import UserError
from seqface_jax.training import sums


def test_a_filled_up_example_counts_for_nothing():
    batch = sums.of_batch({'loss': np.array([1.0, 3.0, 100.0])}, np.array([1.0, 1.0, 0.0]))
    total = sums.add(sums.add({}, batch), sums.of_batch({'loss': np.array([8.0])}, np.ones(1)))
    assert sums.means(total) == {'loss': 4.0}


def test_a_term_that_the_sums_of_an_older_program_lack_stays_out_of_that_epoch():
    begun = {'loss': 2.0, 'count': 1.0}
    total = sums.add(begun, {'loss': 4.0, 'masked_l1': 3.0, 'count': 1.0})
    assert sums.means(total) == {'loss': 3.0}


def test_a_step_whose_loss_or_gradient_is_not_finite_is_named():
    sums.require_finite(7, {'loss': 1.0, 'grad_norm': 2.0})
    for name in ('loss', 'grad_norm'):
        with pytest.raises(UserError, match='not finite at step 7'):
            sums.require_finite(7, {'loss': 1.0, 'grad_norm': 2.0} | {name: float('nan')})
