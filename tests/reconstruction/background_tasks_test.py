import threading
import time

import pytest

from seqface_jax.reconstruction.background_tasks import BackgroundTasks


def test_tasks_are_done_in_order_on_one_other_thread():
    done = []

    def task(number):
        time.sleep(0.01 * (number == 0))  # The first takes longest.
        done.append((number, threading.get_ident()))

    with BackgroundTasks() as tasks:
        for number in range(9):
            tasks.add(lambda number=number: task(number))
        tasks.finish()
        assert [number for number, _ in done] == list(range(9))
    threads = {thread for _, thread in done}
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_leaving_waits_for_what_is_not_done():
    done = []
    with BackgroundTasks() as tasks:
        tasks.add(lambda: time.sleep(0.05) or done.append(1))
    assert done == [1]


def test_no_more_tasks_wait_than_may():
    gate, waits = threading.Event(), threading.Event()
    with BackgroundTasks(most_waiting=2) as tasks:

        def give():
            for _ in range(3):
                tasks.add(gate.wait)
            waits.set()

        giver = threading.Thread(target=give)
        giver.start()
        assert not waits.wait(0.1)
        gate.set()
        giver.join(10)
        assert waits.is_set()


@pytest.mark.parametrize('most_waiting', [0, 1, 8])
def test_an_error_is_raised_by_a_later_call_and_nothing_is_done_after_it(most_waiting):
    done = []

    def fail():
        raise KeyError('the disk is full')

    with pytest.raises(KeyError, match='the disk is full'):
        with BackgroundTasks(most_waiting) as tasks:
            tasks.add(lambda: done.append(1))
            tasks.add(fail)
            tasks.add(lambda: done.append(2))
            tasks.finish()
    assert done == [1]


def test_an_error_of_the_last_task_is_raised_when_the_context_is_left():
    with pytest.raises(ZeroDivisionError), BackgroundTasks() as tasks:
        tasks.add(lambda: 1 / 0)


def test_an_interruption_lets_the_task_under_way_end_and_drops_the_others():
    begun, gate, done = threading.Event(), threading.Event(), []

    def first():
        begun.set()
        gate.wait(10)
        done.append(1)

    with pytest.raises(KeyboardInterrupt), BackgroundTasks() as tasks:
        tasks.add(first)
        tasks.add(lambda: done.append(2))
        begun.wait(10)
        threading.Timer(0.05, gate.set).start()
        raise KeyboardInterrupt
    assert done == [1]
