"""The streaming mode of a replication connection, by libpq's own functions (PostgreSQL docs, 34.10 and 55.4).

psycopg2 reads the stream too, but it answers the server's keepalives by itself, and with positions of its
own making: a slot could be confirmed ahead of the log. libpq answers nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import psycopg2

from bemi_django.ingest.libpq import error_of, library

_FATAL_ERROR = 7
_SQLSTATE = ord("C")
_PRIMARY_MESSAGE = ord("M")
_NOTHING_YET, _END = 0, -1
_AT_ONCE = ctypes.c_int(1)


class CopyBoth:
    """Sends and receives the messages of a connection on which ``START_REPLICATION`` was executed.

    One thread at a time may use it, and nothing else may use the connection at that time.
    """

    def __init__(self, connection: Any) -> None:
        self._libpq = library()
        # Keeps the connection alive for as long as its pointer is used.
        self._connection = connection
        self._pointer = ctypes.c_void_p(connection.pgconn_ptr)
        self._buffer = ctypes.c_void_p()
        self._buffer_at = ctypes.byref(self._buffer)
        # Sending must not wait for the server: nothing else would run while it does.
        if self._libpq.PQsetnonblocking(self._pointer, 1) != 0:
            raise self._failure()

    def messages(self) -> Iterator[bytes]:
        """Yield the messages that are there now.

        Raises:
            psycopg2.Error: The server has ended the stream, or the connection is broken.
        """
        get, free, copy = self._libpq.PQgetCopyData, self._libpq.PQfreemem, _copy()
        pointer, buffer, buffer_at = self._pointer, self._buffer, self._buffer_at
        size = ctypes.c_ssize_t()
        while True:
            length = get(pointer, buffer_at, _AT_ONCE)
            if length <= 0:
                if length == _NOTHING_YET:
                    if not self._libpq.PQconsumeInput(pointer):
                        raise self._failure()
                    length = get(pointer, buffer_at, _AT_ONCE)
                    if length == _NOTHING_YET:
                        return
                if length < 0:
                    raise self._end() if length == _END else self._failure()
            size.value = length
            message = [copy(buffer, size)]
            free(buffer)
            # Handed over: one of many megabytes must not be held here as well.
            yield message.pop()

    def send(self, message: bytes) -> None:
        """Send a message, now or with the next call if the server does not read.

        A message for which there is no memory left is dropped.

        Raises:
            psycopg2.OperationalError: The connection is broken.
        """
        sent = self._libpq.PQputCopyData(self._pointer, message, len(message))
        if sent < 0 or self._libpq.PQflush(self._pointer) < 0:
            raise self._failure()

    def _failure(self) -> psycopg2.Error:
        return psycopg2.OperationalError(_text(self._libpq.PQerrorMessage(self._pointer)))

    def _end(self) -> psycopg2.Error:
        result = ctypes.c_void_p(self._libpq.PQgetResult(self._pointer))
        try:
            if not result.value or self._libpq.PQresultStatus(result) != _FATAL_ERROR:
                return psycopg2.OperationalError("the server has ended the stream")
            state = self._libpq.PQresultErrorField(result, _SQLSTATE)
            if not state:
                # libpq's own words about a connection that was lost.
                return psycopg2.OperationalError(_text(self._libpq.PQresultErrorMessage(result)))
            return error_of(_text(state), _text(self._libpq.PQresultErrorField(result, _PRIMARY_MESSAGE)))
        finally:
            self._libpq.PQclear(result)


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace").strip()


@cache
def _copy() -> Callable[[ctypes.c_void_p, ctypes.c_ssize_t], bytes]:
    """Return what ``string_at()`` does, for arguments that need no conversion: it takes half of the time."""
    # An object of its own, because others use the one that is an attribute.
    copy: Any = ctypes.pythonapi["PyBytes_FromStringAndSize"]
    copy.restype = ctypes.py_object
    return copy  # type: ignore[no-any-return]
