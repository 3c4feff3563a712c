"""The stream of changes: a replication connection on one slot (PostgreSQL docs, 55.4)."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from string import ascii_lowercase
from struct import Struct
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2.extras import LogicalReplicationConnection

from bemi_django.exceptions import Disrupted, ReplicationError, SlotInUse
from bemi_django.ingest.stream.copy_both import CopyBoth
from bemi_django.ingest.stream.timelines import Switch, parse_timeline_history
from bemi_django.schema.sql import quote
from bemi_django.wire.lsn import format_lsn

#: Status updates in the time after which the server is taken for gone; each asks for an answer.
_REPORTS = 6

_DATA, _KEEPALIVE = ord("w"), ord("k")
#: XLogData: the kind, the start of the message in the WAL and the server's position.
_DATA_HEAD = Struct(">BQQ").unpack_from
_DATA_AT = 25
#: Primary keepalive: the server's position, its clock, and whether it asks for an answer.
_KEEPALIVE_BODY = Struct(">xQq?").unpack_from
#: Standby status update: what is written, flushed and applied, our clock, and whether we ask for an answer.
_STATUS = Struct(">cQQQq?").pack
_EPOCH_SECONDS = 946_684_800
#: Units in which the server shows times.
_SECONDS = {"": 0.001, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


class SlotSource:
    """Reads the messages of a slot and confirms what is safe.

    Every status update that leaves this connection is made here, and holds the position that was confirmed
    last: never one that the log does not have.

    Args:
        parameters: Parameters of libpq.
        silence: Seconds without a word after which either side gives the other up.
    """

    def __init__(self, parameters: dict[str, Any], silence: float = 60.0) -> None:
        options = f"{parameters.get('options', '')} -c wal_sender_timeout={int(silence * 1000)}".strip()
        self._connection = psycopg2.connect(
            **{**parameters, "options": options}, connection_factory=LogicalReplicationConnection
        )
        self._stream: CopyBoth | None = None
        #: Where the message read last lies in the WAL; 0 for one that has no position.
        self.message_lsn = 0
        #: How far the server has read the WAL: outside a transaction, all that committed before was sent.
        self.position = 0
        #: 0 confirms nothing.
        self._confirmed = 0
        self._interval = silence / _REPORTS
        self._report_at = 0.0
        self._unanswered = 0

    def identify(self) -> tuple[str, int]:
        """Return the server's system identifier and timeline (IDENTIFY_SYSTEM)."""
        with self._connection.cursor() as cursor:
            cursor.execute("IDENTIFY_SYSTEM")
            system_identifier, timeline, *_ = cursor.fetchone()
        return system_identifier, int(timeline)

    def sender_timeout(self) -> float:
        """Return the ``wal_sender_timeout`` of the connection in seconds, as the server has accepted it."""
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW wal_sender_timeout")
            (text,) = cursor.fetchone()
        digits = text.rstrip(ascii_lowercase)
        return int(digits) * _SECONDS[text[len(digits) :]]

    def timeline_history(self, timeline: int) -> list[Switch]:
        """Return the timelines that the server has left on its way to ``timeline`` (TIMELINE_HISTORY)."""
        if timeline == 1:
            return []
        with self._connection.cursor() as cursor:
            cursor.execute(f"TIMELINE_HISTORY {timeline:d}")
            _, content = cursor.fetchone()
        return parse_timeline_history(content.encode() if isinstance(content, str) else bytes(content))

    def synchronise_slot(self, slot: str, *, failover: bool) -> None:
        """Let standbys synchronise the slot, or not (ALTER_REPLICATION_SLOT, PostgreSQL 17 and later)."""
        with self._connection.cursor() as cursor:
            cursor.execute(f"ALTER_REPLICATION_SLOT {quote(slot)} (FAILOVER {str(failover).lower()})")

    def start(self, slot: str, publication: str, lsn: int) -> None:
        """Begin to stream the transactions that end after ``lsn``, and confirm nothing yet.

        Args:
            slot: The name of the slot.
            publication: The name of the publication.
            lsn: Where the log ends.

        Raises:
            SlotInUse: Another worker reads the slot.
            Disrupted: The slot is gone.
            ReplicationError: The server cannot stream.
        """
        options = {"proto_version": "1", "publication_names": quote(publication), "messages": "true"}
        try:
            with self._connection.cursor() as cursor:
                cursor.start_replication(
                    slot_name=slot, start_lsn=format_lsn(lsn), decode=False, options=options
                )
        except psycopg2.errors.ObjectInUse as error:
            raise SlotInUse(error.diag.message_primary) from error
        except psycopg2.errors.UndefinedObject as error:
            # Dropped since we looked: the next session tells what that means.
            raise Disrupted(error.diag.message_primary) from error
        except psycopg2.ProgrammingError as error:
            reason = error.diag.message_primary
            raise ReplicationError(f"cannot stream from the slot {slot}: {reason}") from error
        self._stream = CopyBoth(self._connection)

    def messages(self) -> Iterator[bytes]:
        """Yield the messages that are there now; ``message_lsn`` and ``position`` are those of the last one.

        Raises:
            psycopg2.Error: The server has ended the stream, or the connection is broken.
        """
        for message in self._opened().messages():
            self._unanswered = 0
            # A keepalive is not shorter than this head.
            kind, lsn, position = _DATA_HEAD(message)
            if kind == _DATA:
                self.message_lsn = lsn
                # That of a row lies before the commit, and Relation messages have none.
                if position > self.position:
                    self.position = position
                message = message[_DATA_AT:]
                yield message
                # The next one is read before the loop would let go of this one, which may be large.
                del message
            elif kind == _KEEPALIVE:
                position, _, is_question = _KEEPALIVE_BODY(message)
                self.position = max(self.position, position)
                if is_question:
                    self._update_status()

    def confirm(self, lsn: int) -> None:
        """Let the server forget the WAL before ``lsn``."""
        self._confirmed = lsn
        self._update_status()

    def wait(self, seconds: float, *others: Any) -> list[Any]:
        """Sleep until a message may be there, or for ``seconds``; return which of ``others`` are readable.

        Raises:
            psycopg2.OperationalError: A connection is broken.
        """
        try:
            readable, _, _ = select.select([self._connection, *others], [], [], min(seconds, self._interval))
        except ValueError as error:
            # libpq has closed the socket.
            raise psycopg2.OperationalError("a connection to the server is broken") from error
        return [other for other in others if other in readable]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def report(self) -> None:
        """Tell the server that we live, and ask it the same, if it is time to; call this often."""
        if time.monotonic() >= self._report_at:
            self._report_at = time.monotonic() + self._interval
            # Counted and not timed: who was busy elsewhere has not listened.
            self._unanswered += 1
            self._update_status(is_question=True)

    def heartbeat(self) -> None:
        """Tell the server that we live, if it is time to, while nobody reads its answers."""
        if time.monotonic() >= self._report_at:
            self._report_at = time.monotonic() + self._interval
            self._update_status()

    @property
    def is_silent(self) -> bool:
        """Whether the server has left more questions unanswered than it should."""
        return self._unanswered > _REPORTS

    @property
    def process(self) -> int:
        """The process of the server that serves the stream."""
        pid: int = self._connection.info.backend_pid
        return pid

    def _update_status(self, is_question: bool = False) -> None:
        lsn = self._confirmed
        clock = time.time_ns() // 1000 - _EPOCH_SECONDS * 1_000_000
        self._opened().send(_STATUS(b"r", lsn, lsn, lsn, clock, is_question))

    def _opened(self) -> CopyBoth:
        if self._stream is None:
            raise psycopg2.InterfaceError("the stream was not started")
        return self._stream
