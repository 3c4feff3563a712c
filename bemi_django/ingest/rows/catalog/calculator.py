"""Evaluate code of table owners: without rights, for a limited time, on a connection of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import psycopg2

from bemi_django.ingest.libpq import wait
from bemi_django.ingest.rows.catalog.large_computation import Ask, computed_in_pieces

Result = TypeVar("Result")

# In a transaction that can write nothing and is always rolled back.
_COMPUTE = "BEGIN READ ONLY; SELECT _bemi.compute_v1(%s, %s::pg_catalog.text[])"
# Rolling back ends neither prepared statements nor advisory locks of the session.
_FORGET = "ROLLBACK; DEALLOCATE ALL; SELECT pg_catalog.pg_advisory_unlock_all()"
# The right to do so. Code of others cannot make this statement fail.
_MAY_COMPUTE = "SELECT _bemi.compute_v1(NULL, NULL)"
_TERMINATE = "SELECT pg_catalog.pg_terminate_backend(%s)"


class Calculator:
    """Opens its connection when it is needed first, and again after each failure.

    Args:
        connect: Returns an asynchronous connection to the source.
        server: Another connection to the source, which ends evaluations that take too long: code can ignore
            a timeout of its own session.
        seconds: How long an evaluation may take.
    """

    def __init__(self, connect: Callable[[], Any], server: Any, seconds: float = 5.0) -> None:
        self._connect = connect
        self._server = server
        self._seconds = seconds
        self._connection: Any = None

    def compute(self, query: str, sent: Sequence[str | None]) -> list[str | None]:
        """Return the values that a query computes.

        Args:
            query: A query for one row with an array of text; ``$1`` is the array of values sent.
            sent: Values as text.

        Raises:
            ValueError: The values cannot be computed.
            psycopg2.Error: The source cannot be reached, or the worker has no right to compute.
        """
        ((computed,),) = self._converse(lambda ask: ask(_COMPUTE, [query, list(sent)]))
        return [] if computed is None else list(computed)

    def compute_in_pieces(self, query: str, sent: Sequence[bytes | None], count: int) -> list[bytes | None]:
        """Return what :meth:`compute` does, for values of many megabytes.

        Args:
            query: The same.
            sent: Values in UTF-8, which may be views.
            count: How many values the query computes.

        Raises:
            ValueError, psycopg2.Error: As :meth:`compute`.
        """
        return self._converse(lambda ask: computed_in_pieces(ask, query, sent, count))

    def _converse(self, speak: Callable[[Ask], Result]) -> Result:
        connection = self._open()
        try:
            with connection.cursor() as cursor:

                def ask(statement: str, parameters: Sequence[object] | None = None) -> list[Any]:
                    cursor.execute(statement, parameters)
                    wait(connection, time.monotonic() + self._seconds)
                    return list(cursor.fetchall()) if cursor.description else []

                found = speak(ask)
                ask(_FORGET)
        except TimeoutError:
            self._end(connection)
            raise ValueError(f"the computation took longer than {self._seconds:g} s") from None
        except psycopg2.Error as error:
            self.close()
            # If the server is gone, this fails as well.
            self._ask(_MAY_COMPUTE)
            raise ValueError(error.diag.message_primary or "the computation broke the connection") from error
        except BaseException:
            self.close()
            raise
        return found

    def close(self) -> None:
        """Close the connection if it is open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> Any:
        if self._connection is None:
            self._ask(_MAY_COMPUTE)
            connection = self._connect()
            # Notices of any length are dropped as they come.
            connection.notices = deque(maxlen=0)
            try:
                wait(connection, time.monotonic() + self._seconds)
            except TimeoutError:
                connection.close()
                raise psycopg2.OperationalError("the source accepts no connection") from None
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _end(self, connection: Any) -> None:
        process = connection.info.backend_pid
        with suppress(psycopg2.errors.InsufficientPrivilege):
            self._ask(_TERMINATE, process)
        self.close()

    def _ask(self, query: str, *parameters: object) -> None:
        with self._server.cursor() as cursor:
            cursor.execute(query, parameters or None)
