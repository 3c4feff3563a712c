"""Ask with which SQLSTATE a server refuses a connection.

libpq tells what the server says, in whatever language and encoding the server speaks, and nothing else.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.libpq import error_of, library

#: How long a server may take to refuse again.
_SECONDS = 5.0
_VERBOSE = 2
#: A connection that was refused and is not any more: connection_failure.
PASSED = "08006"
#: The severity, the SQLSTATE, which has a digit, and what the server says.
_SAID = re.compile(r"^.*?: +((?=[A-Z]*\d)[0-9A-Z]{5}): +(.*)$", re.MULTILINE)


def with_state(error: Exception, parameters: Mapping[str, Any]) -> Exception:
    """Return the error of a connection that could not be opened, with the SQLSTATE of the server, if any.

    Args:
        error: What the driver has raised.
        parameters: The parameters of libpq with which the connection was to be opened.
    """
    words, found = _words_of(error), error
    for state, said in _refusals(parameters):
        # There is a line for each address of the host.
        line = next((line for line in words.splitlines() if said in line), said)
        found = error_of(state, " ".join(line.split()))
        break
    else:
        if isinstance(error, UnicodeDecodeError):
            found = psycopg2.OperationalError(words)
    return found


def _refusals(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Connect again, and yield the SQLSTATE and the words of servers that refuse that."""
    try:
        with closing(psycopg2.connect(**{**parameters, "async_": 1})) as connection:
            library().PQsetErrorVerbosity(connection.pgconn_ptr, _VERBOSE)
            if _wait(connection):
                # It has refused the first connection all the same.
                yield PASSED, ""
    except (psycopg2.Error, ReplicationError, UnicodeDecodeError) as error:
        yield from _SAID.findall(_words_of(error))


def _wait(connection: Any) -> bool:
    """Return whether the connection is open in time."""
    deadline = time.monotonic() + _SECONDS
    while (state := connection.poll()) != POLL_OK and (left := deadline - time.monotonic()) > 0:
        waiting = [connection]
        select.select(waiting if state == POLL_READ else (), waiting if state != POLL_READ else (), (), left)
    return bool(state == POLL_OK)


def _words_of(error: Exception) -> str:
    # psycopg2 takes what is said before a connection has an encoding for UTF-8.
    return error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else str(error)
