"""One task at a time in a thread of its own, whose end a ``select()`` can wait for."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """The thread begins with the first task and ends with :meth:`close`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "bemi-writer")
        self._task: Future[Result] | None = None
        self._ended, self._end = os.pipe()

    @property
    def is_busy(self) -> bool:
        """Whether there is a task whose result nobody has taken."""
        return self._task is not None

    def start(self, task: Callable[[], Result]) -> None:
        """Begin a task; the result of the one before must have been taken."""
        assert self._task is None
        self._task = self._pool.submit(self._run, task)

    def result(self) -> Result:
        """Wait for the task and return its result, or raise what it has raised."""
        assert self._task is not None
        try:
            return self._task.result()
        finally:
            self._task = None
            os.read(self._ended, 1)

    def fileno(self) -> int:
        """Readable when the task has ended."""
        return self._ended

    def close(self) -> None:
        """Wait for the task, whatever comes of it."""
        self._pool.shutdown()
        os.close(self._ended)
        os.close(self._end)

    def _run(self, task: Callable[[], Result]) -> Result:
        try:
            return task()
        finally:
            os.write(self._end, b".")
