"""The stream of changes: a replication connection on one slot."""

from __future__ import annotations

import select
from typing import Any

import psycopg2
from psycopg2.extras import LogicalReplicationConnection

from bemi_django.exceptions import ReplicationError

# Whatever the server's defaults: the text of a value must not depend on them.
_SESSION = (
    "-c DateStyle=ISO -c IntervalStyle=postgres -c bytea_output=hex -c TimeZone=UTC -c extra_float_digits=1"
)
#: Seconds between two status messages to the server.
STATUS_INTERVAL = 10


class Source:
    """Reads messages and confirms what is safe; ``parameters`` are libpq's."""

    def __init__(self, parameters: dict[str, Any], slot: str, publication: str) -> None:
        self._confirmed = 0
        self._last_start = 0
        options = f"{parameters.get('options', '')} {_SESSION}".strip()
        try:
            self._connection = psycopg2.connect(
                **{**parameters, "options": options, "client_encoding": "UTF8"},
                connection_factory=LogicalReplicationConnection,
            )
            self._cursor = self._connection.cursor()
            self._cursor.start_replication(
                slot_name=slot,
                decode=False,
                status_interval=STATUS_INTERVAL,
                options={
                    "proto_version": "1",
                    "publication_names": _quoted(publication),
                    "messages": "true",
                },
            )
        except psycopg2.Error as error:
            raise ReplicationError(f"cannot stream from slot {slot}: {str(error).strip()}") from error

    def read(self) -> bytes | None:
        """Return the next message, None when none is there now."""
        message = self._cursor.read_message()
        if message is None:
            return None
        self._last_start = message.data_start
        payload: bytes = message.payload
        return payload

    @property
    def may_confirm_unasked(self) -> bool:
        """Whether reading on could confirm what is not written yet.

        On a keepalive psycopg2 forwards the flush position by itself when the last message began
        at or before the position confirmed last: so it is for Relation messages, which begin at 0,
        and for transactions older than that position. What is pending must be written first.
        """
        return self._last_start <= self._confirmed

    @property
    def position(self) -> int:
        """LSN up to which the server has sent everything; of use only between transactions."""
        return int(self._cursor.wal_end)

    def confirm(self, lsn: int) -> None:
        """Let the server forget the WAL before ``lsn``."""
        self._confirmed = max(self._confirmed, lsn)
        self._cursor.send_feedback(write_lsn=lsn, flush_lsn=lsn, apply_lsn=lsn, force=True)

    def wait(self, seconds: float) -> None:
        """Sleep until a message may be there, at most so long."""
        select.select([self._cursor], [], [], seconds)

    def close(self) -> None:
        self._connection.close()


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
