"""Tasks one after the other in a thread of their own, whose ends a ``select()`` can wait for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """The thread begins with the first task and ends with :meth:`close`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "bemi-writer")
        self._tasks: deque[Future[Result]] = deque()
        self._ended, self._end = os.pipe()

    def start(self, task: Callable[[], Result]) -> None:
        """Begin a task when those before it have ended."""
        self._tasks.append(self._pool.submit(self._run, task))

    def result(self) -> Result:
        """Wait for the first task whose result nobody has taken; return it, or raise what it has raised."""
        try:
            return self._tasks.popleft().result()
        finally:
            os.read(self._ended, 1)

    def fileno(self) -> int:
        """Readable when there is a result to take."""
        return self._ended

    def close(self) -> None:
        """Wait for the tasks, whatever comes of them."""
        self._pool.shutdown()
        os.close(self._ended)
        os.close(self._end)

    def _run(self, task: Callable[[], Result]) -> Result:
        try:
            return task()
        finally:
            os.write(self._end, b".")
