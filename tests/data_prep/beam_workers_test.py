"""Tasks on Apache Beam; a runner that fails leaves nothing undone. Beam itself: `.[beam]`."""

import threading
from typing import NamedTuple

import numpy as np
import pytest

from data_prep.work import beam_workers, work_files
from seqface_jax.errors import UserError

IN_THIS_PROCESS = 'runner=FnApiRunner,direct_num_workers=1'


class Task(NamedTuple):
    number: int
    key: str
    path: str


def _tasks(folder, count=5):
    return [Task(number, f'key {number}', f'{folder}/{number}.npz') for number in range(count)]


def _square(task):
    work_files.save(task.path, task.key, {'square': np.array(task.number**2)})


def _square_here_or_fail(task):
    if task.number == 2 and threading.current_thread() is not threading.main_thread():
        raise ValueError('this runner cannot do two')
    _square(task)


def _check(found, tasks):
    assert sorted(task.number for task, _, _ in found) == [task.number for task in tasks]
    assert all(death is None for _, _, death in found)
    for task in tasks:
        assert work_files.load(task.path)['square'] == task.number**2


@pytest.fixture
def without_beam(monkeypatch):
    """A runner that does the first two tasks of each pipeline and then fails."""
    monkeypatch.setattr(beam_workers.importlib.util, 'find_spec', lambda name: name)
    pipelines = []

    def run(options, function, tasks, failures):
        pipelines.append((options, len(tasks)))
        for task in tasks[:2]:
            function(task)
        failures.append('no more workers')

    monkeypatch.setattr(beam_workers, '_run_pipeline', run)
    return pipelines


def test_what_a_runner_leaves_undone_is_done_here(tmp_path, monkeypatch, without_beam):
    monkeypatch.setattr(beam_workers, '_BLOCK', 3)
    tasks = _tasks(tmp_path)
    with beam_workers.BeamWorkers('runner=Some, --flink_master=host:8081', 1) as pool:
        _check(list(pool.run(_square, iter(tasks))), tasks)
    options = ['--runner=Some', '--flink_master=host:8081']
    assert without_beam == [(options, 3), (options, 2)]


def test_maps_stay_in_this_process(without_beam):
    with beam_workers.BeamWorkers('runner=Some', 1) as pool:
        assert list(pool.map(abs, [-1, 2])) == [1, 2]
    assert not without_beam


def test_beam_that_is_not_there_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setattr(beam_workers.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'pip install .*\[beam\]'):
        beam_workers.BeamWorkers('runner=Some', 1)


def test_options_must_name_something(without_beam):
    with pytest.raises(UserError, match='beam_pipeline_options is empty'):
        beam_workers.BeamWorkers(' , ', 1)


@pytest.mark.slow
@pytest.mark.parametrize('function', [_square, _square_here_or_fail])
def test_beam_does_the_tasks(tmp_path, function):
    pytest.importorskip('apache_beam')
    tasks = _tasks(tmp_path)
    with beam_workers.BeamWorkers(IN_THIS_PROCESS, 1) as pool:
        _check(list(pool.run(function, tasks)), tasks)
