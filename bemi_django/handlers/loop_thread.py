"""Run a loop in a thread, which is abandoned if it does not end when it is told to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bemi_django.exceptions import BemiError, first_line
from bemi_django.handlers.failures import origin_of
from bemi_django.handlers.rhythm import Rhythm

logger = logging.getLogger(__name__)


class LoopInThread:
    """A loop that can run beside others; ``stop()`` may be called from a signal handler."""

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm
        self._stop, self._hurry = threading.Event(), threading.Event()

    @property
    def handled(self) -> int:
        """The number of changes handled so far."""
        raise NotImplementedError

    def run(self, until_current: bool = False) -> int:
        """Run until stopped and return the number of changes handled."""
        raise NotImplementedError

    def _begin_again(self) -> None:
        """Forget what a run has left that has failed."""
        raise NotImplementedError

    def stop(self, *_: object) -> None:
        """Stop after the current change; a second call, or the end of ``Rhythm.grace``, interrupts it."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    @contextmanager
    def meanwhile(self, end_block: Callable[[], object]) -> Iterator[None]:
        """Run in a thread until the block ends. After an unexpected error, the loop begins again.

        Args:
            end_block: Called if an administrator has to do something before handlers can be called; it
                makes the block end.

        Raises:
            BemiError: That error, when the block has ended.
        """
        failures: list[BemiError] = []
        thread = threading.Thread(target=self._run_again, args=[end_block, failures], daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._leave(thread)
        if failures:
            raise failures[0]

    def run_apart(self, until_current: bool = False) -> int:
        """Run like ``run()``, but in a thread, so that a handler that does not return can be abandoned."""
        failures: list[BaseException] = []
        thread = threading.Thread(target=self._run_into, args=[until_current, failures], daemon=True)
        thread.start()
        while thread.is_alive() and not self._stop.wait(0.1):
            pass
        if thread.is_alive():
            self._leave(thread)
        if failures:
            raise failures[0]
        return self.handled

    def _run_again(self, end_block: Callable[[], object], failures: list[BemiError]) -> None:
        pause = self._rhythm.first_pause
        while not self._stop.is_set():
            try:
                self.run()
            except BemiError as error:
                logger.error("the handlers cannot be called: %s", first_line(error))
                failures.append(error)
                end_block()
                return
            except Exception as error:
                # Only the origin: the message may contain values of rows.
                logger.error("calling handlers failed (%s); trying again in %.1f s", origin_of(error), pause)
                self._begin_again()
                self._stop.wait(pause)
                pause = min(pause * 2, self._rhythm.longest_pause)

    def _run_into(self, until_current: bool, failures: list[BaseException]) -> None:
        try:
            self.run(until_current)
        except BaseException as error:
            failures.append(error)

    def _leave(self, thread: threading.Thread) -> None:
        self._stop.set()
        deadline = time.monotonic() + self._rhythm.grace
        while thread.is_alive() and not self._hurry.is_set() and time.monotonic() < deadline:
            thread.join(0.05)
        if thread.is_alive():
            logger.warning("a handler did not return in time; it will be called with the change again")
