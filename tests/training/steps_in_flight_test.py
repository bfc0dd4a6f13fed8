import jax.numpy as jnp
import pytest

from seqface_jax.errors import UserError
from seqface_jax.training.state import Progress
from seqface_jax.training.steps_in_flight import StepsInFlight


def _metrics(loss):
    sums = {'loss': jnp.float32(2 * loss), 'count': jnp.float32(2)}
    return {'loss': jnp.float32(loss), 'grad_norm': jnp.float32(1), 'sums': sums}


def test_steps_are_collected_in_order_and_once():
    in_flight, progress = StepsInFlight('gpu'), Progress()
    for step in (1, 2, 3):
        in_flight.add(step, _metrics(step))
    assert in_flight.collect(progress)['loss'] == 3
    assert progress.sums == {'loss': 12.0, 'count': 6.0}
    assert in_flight.collect(progress) is None and progress.sums['count'] == 6


def test_a_cpu_is_waited_for_at_every_step_and_a_gpu_is_not():
    for platform, full_after in (('cpu', 1), ('gpu', 20)):
        in_flight = StepsInFlight(platform)
        for step in range(1, full_after + 1):
            assert not in_flight.is_full
            in_flight.add(step, _metrics(1.0))
        assert in_flight.is_full
        in_flight.collect(Progress())
        assert not in_flight.is_full


def test_a_step_that_failed_is_named_though_later_ones_were_started():
    in_flight = StepsInFlight('gpu')
    for step, loss in ((7, 1.0), (8, float('nan')), (9, float('nan'))):
        in_flight.add(step, _metrics(loss))
    with pytest.raises(UserError, match='not finite at step 8:'):
        in_flight.collect(Progress())
