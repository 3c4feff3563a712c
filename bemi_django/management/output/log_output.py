"""Log to the output of a command, as text or as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from django.core.management.base import OutputWrapper

from bemi_django.management.output.closed_output import stream_of
from bemi_django.wire.visible_text import one_line, visible

#: Values of ``--log-format``.
FORMATS = ("text", "json")


class TextFormatter(logging.Formatter):
    """Formats a record as a line that begins with the time in UTC."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; names in the message cannot begin another one."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """Return the lines of a traceback."""
        return visible(super().formatException(ei))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time as ISO 8601, with its offset."""
        return _time_of(record)


class JSONFormatter(logging.Formatter):
    """Formats a record as a line of JSON, with ``time``, ``level``, ``logger`` and ``message``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        values: dict[str, Any] = {
            "time": _time_of(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        text = json.dumps(values, ensure_ascii=False)
        # Some characters that act on a terminal are not escaped in JSON.
        return text if visible(text) == text else json.dumps(values)


class VisibleOutput(OutputWrapper):
    """The output of a command. Names and values in it cannot act on a terminal.

    Characters that the encoding of the output does not have are escaped.
    """

    @classmethod
    def of(cls, output: OutputWrapper) -> VisibleOutput:
        """Return an output that writes to where another one does, in the same style."""
        made = cls(stream_of(output), output.ending)
        made.style_func = output.style_func
        return made

    def write(  # type: ignore[override]
        self, msg: str = "", style_func: Any = None, ending: str | None = None
    ) -> None:
        """Write a text."""
        if encoding := getattr(stream_of(self), "encoding", None):
            msg = msg.encode(encoding, "backslashreplace").decode(encoding)
        super().write(visible(msg), style_func, ending)


def write_data(output: OutputWrapper, line: str) -> None:
    """Write a line for a program to read: as it is, but not to a terminal."""
    OutputWrapper.write(output, visible(line) if output.isatty() else line)


@contextmanager
def log_to(
    output: OutputWrapper, log_format: str | None = None, threads: Collection[str] = ()
) -> Iterator[None]:
    """Log to an output, unless the project configures logging: a silent worker looks dead.

    Args:
        output: Where to write the lines.
        threads: Names of threads to put before their messages.
        log_format: One of :data:`FORMATS`, which also overrules the project's configuration; None for text.
    """
    logger = logging.getLogger("bemi_django")
    if log_format is None and logger.hasHandlers():
        yield
        return
    handler = logging.StreamHandler(output)
    if threads:
        handler.addFilter(_Named(threads))
    handler.setFormatter(JSONFormatter() if log_format == "json" else TextFormatter())
    previous = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # A record must not be written a second time by the project's handlers.
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(previous[0])
        logger.propagate = previous[1]


class _Named:
    """Puts the name of a thread before its messages."""

    def __init__(self, threads: Collection[str]) -> None:
        self._threads = threads

    def filter(self, record: logging.LogRecord) -> bool:
        """Name the thread, and let every record pass."""
        if record.threadName in self._threads:
            record.msg, record.args = f"{record.threadName}: {record.getMessage()}", ()
        return True


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
