import os

import pytest

from data_prep.work.worker_pool import Workers

pytestmark = pytest.mark.slow


def _square(number):
    return number * number


def _die_at_3(number):
    if number == 3:
        os._exit(1)
    return number


def _fail_at_3(number):
    if number == 3:
        raise ValueError('three')
    return number


def _thread_setting(_):
    return os.environ['OMP_NUM_THREADS']


@pytest.mark.parametrize('num_workers', [1, 2])
def test_every_task_comes_back_once_with_its_result(num_workers):
    with Workers(num_workers) as pool:
        results = sorted(pool.run(_square, iter(range(7))))
        assert results == [(n, n * n, None) for n in range(7)]
        assert list(pool.map(_square, range(4))) == [0, 1, 4, 9]


def test_a_task_that_kills_its_process_is_told_and_the_others_finish():
    with Workers(2) as pool:
        results = {task: (result, death) for task, result, death in pool.run(_die_at_3, range(8))}
    assert sorted(results) == list(range(8))
    assert results[3][0] is None and 'died' in results[3][1]
    assert all(results[n] == (n, None) for n in range(8) if n != 3)


def test_an_exception_of_a_task_is_raised_here():
    with pytest.raises(ValueError, match='three'), Workers(2) as pool:
        list(pool.run(_fail_at_3, range(8)))


def test_each_process_uses_one_thread_and_the_setting_is_put_back():
    before = os.environ.get('OMP_NUM_THREADS')
    with Workers(2) as pool:
        assert [result for _, result, _ in pool.run(_thread_setting, [0])] == ['1']
    assert os.environ.get('OMP_NUM_THREADS') == before
