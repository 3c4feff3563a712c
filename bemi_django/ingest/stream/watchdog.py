"""Give up a server that does not answer, so that nobody waits for it forever."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_ACTIVE

from bemi_django.exceptions import Refused, sqlstate_of

#: Looks at a connection in the time after which its server is asked.
_LOOKS = 3
#: Seconds after which a question is not answered.
_QUESTION = 10.0
_PROCESS = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
# Whether a process works, and what changes if it does something else. One that waits for its client, which
# waits for an answer, only lives while it receives rows.
_ASK = """
SELECT a.state = 'active' AND a.wait_event_type IS DISTINCT FROM 'Client',
       a.state_change, (SELECT c.bytes_processed FROM pg_stat_progress_copy c WHERE c.pid = a.pid)
FROM pg_stat_activity a WHERE a.pid = %s AND a.backend_start = %s
"""
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"


class WatchedConnection(psycopg2.extensions.connection):  # type: ignore[misc]
    """A connection that :meth:`watch` shuts down when its server does not answer."""

    #: The number of cursors that were made: another one means that the statement before was answered.
    cursors = 0
    #: Whether the server was given up.
    is_given_up = False
    _watchdog: Watchdog | None = None

    def watch(self, connect: Callable[[], Any], seconds: float) -> None:
        """Watch this connection, which must not be in a transaction, until it is closed.

        Args:
            connect: Opens another connection to the same database.
            seconds: How long a statement may take before the server is asked what it does.

        Raises:
            psycopg2.Error: The connection is broken.
        """
        self._watchdog = Watchdog(self, connect, seconds)
        self._watchdog.start()
        with self, self.cursor() as cursor:
            cursor.execute(_PROCESS)
            process = cursor.fetchone()
        # A pooler lends other processes, and tells a number of its own.
        if process is not None and process[0] == self.info.backend_pid:
            self._watchdog.process = process

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        """Return a new cursor."""
        self.cursors += 1
        return super().cursor(*arguments, **options)

    def close(self) -> None:
        """Close the connection."""
        if self._watchdog is not None:
            self._watchdog.end()
        super().close()


class Watchdog(threading.Thread):
    """Looks at a connection from a thread of its own, and asks about its process over another connection.

    A process that works is waited for, however long it takes, and so is a server that answers but cannot
    tell. A process that is gone, or that waits for us while we wait for it, is given up, as is a server that
    cannot be asked.
    """

    def __init__(self, connection: WatchedConnection, connect: Callable[[], Any], seconds: float) -> None:
        super().__init__(name="bemi-watchdog", daemon=True)
        self._connection = connection
        self._connect = connect
        self._seconds = seconds
        #: The process id and the start of the server's process; None if they are not known.
        self.process: tuple[Any, ...] | None = None
        self._guard = threading.Lock()
        self._is_over = threading.Event()
        self._statement: int | None = None
        self._ask_at = 0.0
        self._sign: object = None

    def run(self) -> None:
        """Look until the connection is closed or given up."""
        while not self._is_over.wait(self._seconds / _LOOKS):
            if self._is_overdue() and not self._lives() and self._give_up():
                self._terminate()
                return

    def end(self) -> None:
        """Do not touch the connection any more: it is being closed."""
        with self._guard:
            self._is_over.set()

    def _is_overdue(self) -> bool:
        now, statement = time.monotonic(), self._running()
        if statement is None or statement != self._statement:
            self._statement, self._ask_at, self._sign = statement, now + self._seconds, None
        return statement is not None and now >= self._ask_at

    def _running(self) -> int | None:
        """Return the number of the statement that waits for its answer."""
        with self._guard:
            connection = self._connection
            is_running = (
                not self._is_over.is_set()
                and not connection.closed
                and connection.info.transaction_status == TRANSACTION_STATUS_ACTIVE
            )
            return connection.cursors if is_running else None

    def _lives(self) -> bool:
        before, self._sign = self._sign, self._ask()
        self._ask_at = time.monotonic() + self._seconds
        return self._sign is not None and self._sign != before

    def _ask(self) -> object:
        """Return a sign of life, equal to the one before if nothing has happened; None if there is none."""
        try:
            found = self._execute(_ASK if self.process else "SELECT 1", self.process)
        except Exception as error:
            # Too many connections, for example: that is an answer as well. Parameters may be computed by code
            # of the application, which raises anything.
            return object() if isinstance(error, Refused) or sqlstate_of(error) else None
        if found is None:
            return None
        is_working, *sign = found
        return object() if is_working else sign

    def _give_up(self) -> bool:
        """Shut the connection down, unless an answer has come in the meantime."""
        if self._running() != self._statement:
            return False
        with self._guard:
            if not self._is_over.is_set():
                self._connection.is_given_up = True
                shut_down(self._connection)
        return True

    def _terminate(self) -> None:
        """End the process, which holds locks and may not learn that we left, as soon as that is possible."""
        while self.process is not None:
            with suppress(Exception):
                self._execute(_TERMINATE, self.process)
                return
            time.sleep(self._seconds)

    def _execute(self, query: str, parameters: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        with closing(self._connect()) as other:
            timer = threading.Timer(_QUESTION, shut_down, [other])
            timer.daemon = True
            timer.start()
            try:
                with other.cursor() as cursor:
                    cursor.execute(query, parameters)
                    found: tuple[Any, ...] | None = cursor.fetchone()
                    return found
            finally:
                timer.cancel()
                # The number of a socket that is closed meanwhile may be that of another one.
                timer.join()


def shut_down(connection: Any) -> None:
    """End the wait of another thread for a connection, which is broken from then on."""
    with suppress(psycopg2.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
