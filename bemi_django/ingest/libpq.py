"""libpq's own functions, for what psycopg2 does not do with its connections (PostgreSQL docs, chapter 34)."""

from __future__ import annotations

import ctypes
import select
import time
from functools import cache
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2 import _psycopg
from psycopg2.extensions import POLL_OK, POLL_READ

from bemi_django.exceptions import ReplicationError


@cache
def library() -> Any:
    """Load the libpq that psycopg2 is linked with: another libpq cannot use its connections."""
    # Without releasing the interpreter's lock: what is called for each message does not wait.
    library = ctypes.PyDLL(_psycopg.__file__)
    connection, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures = {
        # Called for each message, with values of these types that need no conversion.
        "PQgetCopyData": (number, None),
        "PQfreemem": (None, None),
        "PQconsumeInput": (number, [connection]),
        "PQsetnonblocking": (number, [connection, number]),
        "PQputCopyData": (number, [connection, text, number]),
        "PQflush": (number, [connection]),
        "PQgetResult": (ctypes.c_void_p, [connection]),
        "PQresultStatus": (number, [ctypes.c_void_p]),
        "PQresultErrorField": (text, [ctypes.c_void_p, number]),
        "PQresultErrorMessage": (text, [ctypes.c_void_p]),
        "PQclear": (None, [ctypes.c_void_p]),
        "PQerrorMessage": (text, [connection]),
        "PQsetErrorVerbosity": (number, [connection, number]),
    }
    try:
        for name, (result, arguments) in signatures.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise ReplicationError(
            "psycopg2 does not give access to its libpq: install psycopg2-binary, or build psycopg2 "
            "against a shared libpq"
        ) from error
    return library


def error_of(state: str, message: str) -> psycopg2.Error:
    """Return the error that psycopg2 would raise for the server's."""
    try:
        error: psycopg2.Error = psycopg2.errors.lookup(state)(message)
    except KeyError:
        error = psycopg2.DatabaseError(message)
    # Its attributes are read-only, but for this way, by which it is unpickled.
    error.__setstate__({"pgcode": state, "pgerror": message})
    return error


def wait(connection: Any, deadline: float) -> None:
    """Wait until an asynchronous connection is open, or has done what it was asked.

    Args:
        connection: The connection.
        deadline: The time of :func:`time.monotonic` until which it may take.

    Raises:
        TimeoutError: The deadline has passed.
    """
    while (state := connection.poll()) != POLL_OK:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        is_read = state == POLL_READ
        select.select([connection] if is_read else [], [] if is_read else [connection], [], left)
