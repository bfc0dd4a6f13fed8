import numpy as np

from seqface_jax.training.correspondence_state import BestLosses


class _Store:
    """Keeps what is saved in memory."""

    def __init__(self):
        self.saved = {}

    def restore(self, which):
        return self.saved.get(which)

    def save(self, which, variables, meta, training=None):
        self.saved[which] = variables, training, meta


def _state(value):
    return {'params': value, 'ema': -value, 'opt_state': {}, 'constants': {}}


def test_only_a_lower_loss_takes_the_place_of_the_best_also_after_a_stop():
    store = _Store()
    best = BestLosses(store)
    best.save(_state(np.ones(1)), 10, {'best_validation': 2.0, 'best_training': 2.0})
    best.save(_state(np.ones(1)), 20, {'best_validation': 3.0, 'best_training': 1.0})
    steps = {which: meta['step'] for which, (_, _, meta) in store.saved.items()}
    assert steps == {'best_validation': 10, 'best_training': 20, 'latest': 20}
    again = BestLosses(store)
    again.save(_state(np.ones(1)), 30, {'best_validation': 2.5, 'best_training': 0.5})
    steps = {which: meta['step'] for which, (_, _, meta) in store.saved.items()}
    assert steps == {'best_validation': 10, 'best_training': 30, 'latest': 30}


def test_what_is_saved_are_averaged_parameters_and_all_that_is_needed_to_go_on():
    store = _Store()
    best = BestLosses(store)
    best.save(_state(np.ones(1)), 10, {'best_validation': 2.0, 'best_training': 2.0})
    variables, training, _ = store.saved['latest']
    assert variables['params'] == -1 and training['params'] == 1 and training['ema'] == -1
    assert store.saved['best_validation'][1] is None
