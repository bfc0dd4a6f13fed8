"""Work that is done beside the main thread, one task after the other."""

import collections
from concurrent import futures

_MOST_WAITING = 3  # Tasks that are given and not done; each may hold a frame.


class BackgroundTasks:
    """Does tasks on one thread, in the order in which they are given.

    A context: left without an error, it waits for all tasks; else for the one that is under way,
    and the others are not done. After a task that has raised an error none is done.
    """

    def __init__(self, most_waiting=_MOST_WAITING):
        """Begins without a task, or a thread."""
        self._waiting, self._most_waiting = collections.deque(), most_waiting
        self._pool = futures.ThreadPoolExecutor(1)
        self._has_failed = False

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            self.finish()

    def add(self, task):
        """Gives a function without arguments; waits where `most_waiting` tasks are not done.

        Raises:
            The error of a task that was given before.
        """
        self._waiting.append(self._pool.submit(self._do, task))
        while self._waiting[0].done() or len(self._waiting) > self._most_waiting:
            self._waiting.popleft().result()
            if not self._waiting:
                return

    def finish(self):
        """Waits until all tasks are done.

        Raises:
            The error of a task.
        """
        while self._waiting:
            self._waiting.popleft().result()

    def _do(self, task):
        if self._has_failed:
            return
        try:
            task()
        except BaseException:
            self._has_failed = True
            raise
