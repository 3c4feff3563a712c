"""Find out with which SQLSTATE a server refuses a connection.

libpq tells what the server says, in whatever language and encoding the server speaks, and nothing else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import Any

import psycopg2

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.libpq import error_of, library, wait

#: How long a server may take to refuse again.
_SECONDS = 5.0
_VERBOSE = 2
#: A connection that was refused and is not any more: connection_failure.
PASSED = "08006"
#: The severity, the SQLSTATE, which has a digit, and what the server says.
_SAID = re.compile(r"^.*?: +((?=[A-Z]*\d)[0-9A-Z]{5}): +(.*)$", re.MULTILINE)
#: What a server says begins with a severity, in its language, and two spaces. libpq's own words do not.
_OF_SERVER = re.compile(r"\S:  ")
#: Failed log-ins, which servers count: they are not repeated where the words tell the SQLSTATE. Those about
#: a file are libpq's own, which it adds to invalid_password only.
_FAILED_LOG_INS = {
    "28P01": re.compile(
        r'password authentication failed|^.*(?=\n.*password retrieved from file ")', re.MULTILINE
    ),
    "28000": re.compile("authentication failed for user"),
}


def with_state(error: Exception, parameters: Mapping[str, Any]) -> Exception:
    """Return the error of a connection that could not be opened, with the SQLSTATE of the server, if any.

    The server is asked again, unless it has said in English that a log-in has failed: it would count two.

    Args:
        error: What the driver has raised.
        parameters: The parameters of libpq with which the connection was to be opened.
    """
    words, found = _words_of(error), error
    for state, said in _known(words) or _refusals(words, parameters):
        # There is a line for each address of the host.
        line = next((line for line in words.splitlines() if said in line), said)
        found = error_of(state, " ".join(line.split()))
        break
    else:
        if isinstance(error, UnicodeDecodeError):
            found = psycopg2.OperationalError(words)
    return found


def _known(words: str) -> list[tuple[str, str]]:
    """Return the SQLSTATE and the words of a failed log-in that need no question."""
    found = ((state, pattern.search(words)) for state, pattern in _FAILED_LOG_INS.items())
    return [(state, match[0]) for state, match in found if match][:1]


def _refusals(words: str, parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Connect again if a server has refused that, and yield the SQLSTATE and the words of its refusals."""
    if not _OF_SERVER.search(words):
        return
    try:
        with closing(psycopg2.connect(**{**parameters, "async_": 1})) as connection:
            library().PQsetErrorVerbosity(connection.pgconn_ptr, _VERBOSE)
            with suppress(TimeoutError):
                wait(connection, time.monotonic() + _SECONDS)
                # It has refused the first connection all the same.
                yield PASSED, ""
    except (psycopg2.Error, ReplicationError, UnicodeDecodeError) as raised:
        yield from _SAID.findall(_words_of(raised))


def _words_of(error: Exception) -> str:
    # psycopg2 takes what is said before a connection has an encoding for UTF-8.
    return error.object.decode(errors="replace") if isinstance(error, UnicodeDecodeError) else str(error)
