"""The writes of a block and their contexts, whether the test commits or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connections

from bemi_django import conf
from bemi_django.capture.comment import without_comment
from bemi_django.capture.hooks.django_db import seeing_comments
from bemi_django.exceptions import BemiError
from bemi_django.wire import COMMENT_END, COMMENT_START


class CapturedWrite(NamedTuple):
    """A statement that writes.

    Attributes:
        sql: Its text, without the comment that carries the context.
        context: The context that its changes are recorded with, without the statement.
    """

    sql: str
    context: dict[str, Any]


@contextmanager
def captured_writes(using: str = "default") -> Iterator[list[CapturedWrite]]:
    """Collect the writes of a block on a connection of Django's.

    The log has no part in this, so it also works in tests that are rolled back, and without a worker. What
    triggers and cascades write has no statement of its own and is not seen.

    Args:
        using: Alias of the database.

    Yields:
        A list that grows with each write.

    Raises:
        BemiError: ``BEMI_CAPTURE`` is False.
    """
    require_capture()
    writes: list[CapturedWrite] = []

    @seeing_comments
    def note(execute: Callable[..., Any], sql: Any, params: Any, many: bool, execution: Any) -> Any:
        text = sql.decode(errors="replace") if isinstance(sql, bytes) else sql
        if isinstance(text, str) and text.startswith(COMMENT_START):
            writes.append(_write(text))
        return execute(sql, params, many, execution)

    with connections[using].execute_wrapper(note):
        yield writes


def require_capture() -> None:
    """Raise BemiError if no context is attached to what is written."""
    if not conf.captures():
        raise BemiError(
            "no context is attached, because BEMI_CAPTURE is False: set it to True in the settings of tests"
        )


def _write(text: str) -> CapturedWrite:
    content, _, _ = text.removeprefix(COMMENT_START).partition(COMMENT_END)
    context = json.loads(content)
    del context["SQL"]
    return CapturedWrite(without_comment(text), context)
