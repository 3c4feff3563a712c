"""Ask a function of the project whether a change is recorded; whatever goes wrong with it, the change is.

The function runs in a thread of its own, because it may never return.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Overdue
from queue import SimpleQueue
from threading import Thread
from typing import Any
from weakref import finalize

logger = logging.getLogger(__name__)

#: ``function(table, before, after)``: ``table`` is ``schema.table``, the rows are as the log has them.
Function = Callable[[str, dict[str, Any], dict[str, Any]], object]
_Call = tuple["Future[bool]", tuple[Any, ...]]
_Calls = SimpleQueue["_Call | None"]
#: What failures are counted as.
FAILED = "conditions that failed: the changes were recorded"


class Condition:
    """A function that returns a true value for changes to record.

    Args:
        name: How the function is called in messages, such as its dotted path.
        function: The function.
        seconds: How long a call may take. After a longer one, the function is not called any more.
    """

    def __init__(self, name: str, function: Function, seconds: float = 5.0) -> None:
        self.name = name
        self._function = function
        self._seconds = seconds
        self._calls: _Calls | None = None
        self._is_told = self._is_given_up = False
        #: Where failures are counted.
        self.counts: Counter[str] = Counter()

    def is_met(self, table: tuple[str, str], before: bytes, after: bytes) -> bool:
        """Return whether a change is to be recorded: if the function says so, or fails.

        Args:
            table: Schema and name of the table.
            before: The old row as JSON text, ``{}`` if there is none.
            after: The new row.
        """
        if self._is_given_up:
            return True
        answer: Future[bool] = Future()
        try:
            arguments = ".".join(table), json.loads(before), json.loads(after)
            self._thread().put((answer, arguments))
            return answer.result(self._seconds)
        except Overdue:
            if not answer.done():
                self._is_given_up = True
                self._tell(f"took longer than {self._seconds:g} s, and is not called any more")
                return True
            self._tell("raised TimeoutError")
        # Also SystemExit, which the thread has caught.
        except BaseException as error:
            if not answer.done() and not isinstance(error, Exception):
                # Meant for the worker itself.
                raise
            self._tell(f"raised {type(error).__name__}")
        return True

    def _thread(self) -> _Calls:
        if self._calls is None:
            self._calls = SimpleQueue()
            Thread(target=_answer, args=(self._function, self._calls), name=self.name, daemon=True).start()
            # The thread ends with the condition.
            finalize(self, self._calls.put, None)
        return self._calls

    def _tell(self, what: str) -> None:
        self.counts[FAILED] += 1
        if not self._is_told or self._is_given_up:
            self._is_told = True
            # Its message may hold values.
            logger.error("the condition %s %s: changes are recorded as if it was met", self.name, what)


def _answer(function: Function, calls: _Calls) -> None:
    while (call := calls.get()) is not None:
        answer, arguments = call
        try:
            answer.set_result(bool(function(*arguments)))
        except BaseException as error:
            answer.set_exception(error)
