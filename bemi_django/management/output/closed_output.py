"""End a command without a traceback when nobody reads its output any more: ``bemi verify | head``."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.management.base import OutputWrapper

#: The exit status that a shell reports for a command that SIGPIPE has ended.
CLOSED = 141


@contextmanager
def ended_with(output: OutputWrapper) -> Iterator[None]:
    """End the process when a pipe to which the block writes is closed.

    Args:
        output: The standard output of a command.

    Raises:
        SystemExit: With the status :data:`CLOSED`.
    """
    try:
        yield
        output.flush()
    except BrokenPipeError:
        if not _is_closed(output):
            raise
        # What is buffered would be written when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream_of(output).fileno())
        raise SystemExit(CLOSED) from None


def stream_of(output: OutputWrapper) -> Any:
    """Return what an output writes to. Attributes of its own say nothing in Django 4.2."""
    return vars(output)["_out"]


def _is_closed(output: OutputWrapper) -> bool:
    """Tell whether it is the output that is closed, and not another pipe or connection."""
    asked = select.poll()
    with suppress(OSError, ValueError):  # it is no file
        asked.register(stream_of(output).fileno(), 0)
    return any(event & select.POLLERR for _, event in asked.poll(0))
