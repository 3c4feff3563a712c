"""Run tasks one after the other in a thread of their own; ``select()`` can wait for their ends."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

Result = TypeVar("Result")
Other = TypeVar("Other")

#: Seconds between two calls of what is done while a task is waited for.
_PAUSE = 0.2


class Background(Generic[Result]):
    """A thread that starts with the first task and ends with :meth:`close`.

    Args:
        while_waiting: Called again and again while a task is waited for; it must not fail.
    """

    def __init__(self, while_waiting: Callable[[], object] = lambda: None) -> None:
        self._while_waiting = while_waiting
        self._pool = ThreadPoolExecutor(1, "bemi-writer")
        self._tasks: deque[Future[Result]] = deque()
        self._ended, self._end = os.pipe()

    def start(self, task: Callable[[], Result]) -> None:
        """Run a task as soon as those before it have ended."""
        self._tasks.append(self._pool.submit(self._run, task))

    def result(self) -> Result:
        """Wait for the oldest task whose result was not taken yet; return its result, or raise its error."""
        try:
            return self._wait(self._tasks.popleft())
        finally:
            os.read(self._ended, 1)

    def run(self, task: Callable[[], Other]) -> Other:
        """Run a task after those before it and wait for it; return its result, or raise its error."""
        return self._wait(self._pool.submit(task))

    def fileno(self) -> int:
        """Return a file descriptor that is readable while there is a result to take."""
        return self._ended

    def close(self) -> None:
        """Wait for the tasks, and ignore their outcome."""
        self._pool.shutdown()
        os.close(self._ended)
        os.close(self._end)

    def _wait(self, future: Future[Other]) -> Other:
        while not wait([future], _PAUSE).done:
            self._while_waiting()
        return future.result()

    def _run(self, task: Callable[[], Result]) -> Result:
        try:
            return task()
        finally:
            os.write(self._end, b".")
