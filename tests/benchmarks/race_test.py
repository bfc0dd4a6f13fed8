import pytest

from benchmarks import keras_race, race
from seqface_jax.errors import UserError

CODE = """
from benchmarks import race
count = 0


def turn():
    global count
    count += 1
    print('what a library says')
    return {'value': STEP * count}


race.serve({'turn': turn, 'end': lambda: {'peak_mb': race.peak_mb()}})
"""

FORGETFUL = """
from benchmarks import race


def fill():
    b'x' * 200 * 2**20
    return {'peak_mb': race.peak_mb()}


def forget():
    race.forget_peak()
    return {'peak_mb': race.peak_mb()}


race.serve({'fill': fill, 'forget': forget})
"""


@pytest.mark.slow
def test_contestants_answer_in_turn_and_have_their_own_memory():
    with (
        race.Contestant(['-c', CODE.replace('STEP', '1')]) as one,
        race.Contestant(['-c', CODE.replace('STEP', '10')]) as ten,
    ):
        turns = race.in_turn({'one': one, 'ten': ten}, 'turn', 2)
        assert turns == {
            'one': [{'value': 1}, {'value': 2}],
            'ten': [{'value': 10}, {'value': 20}],
        }
        assert one.ask('end')['peak_mb'] > 1


@pytest.mark.slow
def test_a_contestant_that_ends_is_told():
    with race.Contestant(['-c', 'pass']) as gone:
        with pytest.raises(RuntimeError, match='ended when it was asked to turn'):
            gone.ask('turn')


def test_peers_that_are_not_installed_are_named_with_the_command(monkeypatch):
    monkeypatch.setattr(keras_race.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r"keras, tensorflow: pip install -e '\.\[bench"):
        keras_race.check_installation(('ours', 'graph'))


def test_contestants_of_different_losses_are_refused():
    keras_race.check_losses({'ours': [1.0, 0.5], 'graph': [1.0001, 0.5]})
    with pytest.raises(UserError, match='graph and ours do not compute the same'):
        keras_race.check_losses({'ours': [1.0, 0.5], 'graph': [1.1, 0.5]})


def test_ratios_are_to_our_step():
    ours = {'seconds': 1.0, 'seconds_min': 0.9, 'cpu_seconds': 1.5}
    ours |= {'peak_mb': 500, 'step_peak_mb': 300}
    graph = ours | {'seconds': 2.0, 'cpu_seconds': 1.8, 'peak_mb': 1000, 'step_peak_mb': 400}
    text = keras_race.table({'contestants': {'ours': ours, 'graph': graph}})
    assert '| graph | 2.000 | 0.900 | 1.80 | 2.00 | 1.20 | 1000 | 0.50 | 400 | 0.75 |' in text


@pytest.mark.slow
def test_a_forgotten_peak_is_counted_no_more():
    with race.Contestant(['-c', FORGETFUL]) as contestant:
        before, after = (contestant.ask(word)['peak_mb'] for word in ('fill', 'forget'))
    assert before - after > 150
