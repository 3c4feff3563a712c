"""The stream of changes: a replication connection on one slot."""

from __future__ import annotations

import select
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2.extras import LogicalReplicationConnection

from bemi_django.exceptions import ReplicationError, SlotInUse
from bemi_django.wal.lsn import format_lsn

#: Seconds between two status messages to the server.
STATUS_INTERVAL = 10


class Source:
    """Reads messages and confirms what is safe; ``parameters`` are libpq's."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._confirmed = 0
        self._last_start = 0
        self._connection = psycopg2.connect(**parameters, connection_factory=LogicalReplicationConnection)
        self._cursor = self._connection.cursor()

    def identify(self) -> tuple[str, int]:
        """The server's system identifier and timeline (IDENTIFY_SYSTEM)."""
        self._cursor.execute("IDENTIFY_SYSTEM")
        system_identifier, timeline, *_ = self._cursor.fetchone()
        return system_identifier, int(timeline)

    def start(self, slot: str, publication: str, lsn: int) -> None:
        """Stream the transactions that end after ``lsn``.

        Raises SlotInUse when another worker does, ReplicationError when the server cannot.
        """
        options = {"proto_version": "1", "publication_names": _quoted(publication), "messages": "true"}
        try:
            self._cursor.start_replication(
                slot_name=slot,
                start_lsn=format_lsn(lsn),
                decode=False,
                status_interval=STATUS_INTERVAL,
                options=options,
            )
        except psycopg2.errors.ObjectInUse as error:
            raise SlotInUse(error.diag.message_primary) from error
        except psycopg2.ProgrammingError as error:
            reason = error.diag.message_primary
            raise ReplicationError(f"cannot stream from the slot {slot}: {reason}") from error

    def read(self) -> bytes | None:
        """Return the next message, None when none is there now."""
        message = self._cursor.read_message()
        if message is None:
            return None
        self._last_start = message.data_start
        payload: bytes = message.payload
        return payload

    @property
    def position(self) -> int:
        """The LSN of the message read last: of a row, where it was written."""
        return self._last_start

    @property
    def may_confirm_unasked(self) -> bool:
        """Whether reading on could confirm what is not written yet.

        On a keepalive psycopg2 forwards the flush position by itself when the last message began
        at or before the position confirmed last: so it is for Relation messages, which begin at 0,
        and for transactions older than that position. What is pending must be written first.
        """
        return self._last_start <= self._confirmed

    def confirm(self, lsn: int) -> None:
        """Let the server forget the WAL before ``lsn``, which is where the message read last begins."""
        # One less: at the beginning itself psycopg2 would forward the position from then on.
        self._confirmed = max(self._confirmed, lsn - 1)
        self._cursor.send_feedback(
            write_lsn=self._confirmed, flush_lsn=self._confirmed, apply_lsn=self._confirmed, force=True
        )

    def wait(self, seconds: float, other: Any) -> bool:
        """Sleep until a message may be there, at most so long; tell whether ``other`` is readable."""
        readable, _, _ = select.select([self._cursor, other], [], [], seconds)
        return other in readable

    def close(self) -> None:
        self._connection.close()


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
