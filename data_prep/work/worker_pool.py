"""Processes that work through many tasks, none of which can take the whole run down."""

import concurrent.futures
import itertools
import multiprocessing
import os
import signal
import threading

import cv2

from seqface_jax.errors import UserError

_THREAD_VARIABLES = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')


class Workers:
    """A pool of processes, to be used as a context; one worker means this process.

    Attributes:
        num_workers: number of processes.
    """

    def __init__(self, num_workers):
        self.num_workers = num_workers
        self._executor = None
        self._environment = {}

    def __enter__(self):
        # Spawned processes inherit this: one thread each, there is one process per core.
        self._environment = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(_THREAD_VARIABLES, '1'))
        return self

    def __exit__(self, error_type, error, trace):
        if error_type is not None:  # Ctrl-C, or a task's exception: wait for nobody.
            for process in multiprocessing.active_children():
                process.terminate()
        self._close()
        for name, value in self._environment.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})

    def map(self, function, *iterables):
        """Returns an iterator like `map`; picklable arguments only."""
        if self.num_workers <= 1:
            return map(function, *iterables)
        return self._map(function, *iterables)

    def _map(self, function, *iterables):
        try:
            yield from self._open(self.num_workers).map(function, *iterables)
        except concurrent.futures.BrokenExecutor as error:
            raise UserError(
                'a worker process died, perhaps out of memory; run again with fewer --workers'
            ) from error

    def run(self, function, tasks):
        """Yields (task, result, death) for every task, as they finish.

        Args:
            function: picklable; called with one task. Its exceptions are raised here.
            tasks: iterable; drawn as workers come free.

        Yields:
            task; its result, or None; None, or the sentence why its process died (killed, out
            of memory, a crash inside a library) twice: with others at work, and alone.
        """
        if self.num_workers <= 1:
            for task in tasks:
                yield task, function(task), None
            return
        tasks = iter(tasks)
        unfinished = True
        while unfinished:
            unfinished = []
            yield from self._run(function, tasks, self.num_workers, unfinished)
            for task in unfinished:  # One of them broke the pool: each goes alone.
                died = []
                yield from self._run(function, iter([task]), 1, died)
                if died:
                    yield task, None, 'the process that worked on it died (out of memory, a crash)'
            if unfinished:
                self._close()

    def _run(self, function, tasks, num_workers, unfinished):
        """Runs tasks until they end or the pool breaks; then tasks in work go to `unfinished`."""
        executor = self._open(num_workers)
        pending = {}
        while not unfinished:
            for task in itertools.islice(tasks, 2 * num_workers - len(pending)):
                try:
                    pending[executor.submit(function, task)] = task
                except concurrent.futures.BrokenExecutor:
                    unfinished.append(task)
            if not pending:
                break
            done, _ = concurrent.futures.wait(
                pending, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                task = pending.pop(future)
                if isinstance(future.exception(), concurrent.futures.BrokenExecutor):
                    unfinished.append(task)
                else:
                    yield task, future.result(), None
        if unfinished:
            unfinished.extend(pending.values())
            self._close()

    def _open(self, num_workers):
        if self._executor is None:
            self._executor = concurrent.futures.ProcessPoolExecutor(
                num_workers, multiprocessing.get_context('spawn'), initializer=_start_worker
            )
        return self._executor

    def _close(self):
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = None


def _start_worker():
    cv2.setNumThreads(1)  # There is one process per core: OpenCV's own threads would fight them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business.
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent():
    """Ends this process when its parent was killed and could not say so."""
    multiprocessing.parent_process().join()
    os._exit(1)
