"""The stream of changes: a replication connection on one slot."""

from __future__ import annotations

import select
import time
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2.extras import LogicalReplicationConnection

from bemi_django.exceptions import Disrupted, ReplicationError, SlotInUse
from bemi_django.schema.sql import quote
from bemi_django.wire.lsn import format_lsn

#: Status messages in the time after which the server is taken for gone; each asks for an answer.
_REPORTS = 6
#: For the cursor that reads, which has nothing to report.
_NEVER = 2**31 - 1


class Source:
    """Reads messages and confirms what is safe; ``parameters`` are libpq's.

    After ``silence`` seconds without a word either side gives the other up.

    On a keepalive psycopg2 forwards the flush position of the cursor that reads, by itself, when that
    cursor has confirmed the start of its last message. So another cursor of the connection confirms.
    """

    def __init__(self, parameters: dict[str, Any], silence: float = 60.0) -> None:
        options = f"{parameters.get('options', '')} -c wal_sender_timeout={int(silence * 1000)}".strip()
        self._connection = psycopg2.connect(
            **{**parameters, "options": options}, connection_factory=LogicalReplicationConnection
        )
        self._reader = self._connection.cursor()
        self._reporter = self._connection.cursor()
        #: The LSN of the message read last: of a row, where it was written.
        self.message_lsn = 0
        #: Whether reading on could confirm what is not written yet, which must be written first: a cursor
        #: that has confirmed nothing has confirmed position 0, where a Relation message begins, and a
        #: keepalive that follows one is confirmed. So it is before the first message.
        self.may_confirm_unasked = True
        self._interval = silence / _REPORTS
        self._report_at = 0.0
        self._heard: object = None
        self._unanswered = 0

    def identify(self) -> tuple[str, int]:
        """The server's system identifier and timeline (IDENTIFY_SYSTEM)."""
        self._reader.execute("IDENTIFY_SYSTEM")
        system_identifier, timeline, *_ = self._reader.fetchone()
        return system_identifier, int(timeline)

    def start(self, slot: str, publication: str, lsn: int) -> None:
        """Stream the transactions that end after ``lsn``, and confirm those before.

        Raises SlotInUse when another worker does, Disrupted when the slot is gone, ReplicationError when the
        server cannot.
        """
        options = {"proto_version": "1", "publication_names": quote(publication), "messages": "true"}
        try:
            self._reader.start_replication(
                slot_name=slot,
                start_lsn=format_lsn(lsn),
                decode=False,
                status_interval=_NEVER,
                options=options,
            )
        except psycopg2.errors.ObjectInUse as error:
            raise SlotInUse(error.diag.message_primary) from error
        except psycopg2.errors.UndefinedObject as error:
            # Dropped since we looked: the next session tells what that means.
            raise Disrupted(error.diag.message_primary) from error
        except psycopg2.ProgrammingError as error:
            reason = error.diag.message_primary
            raise ReplicationError(f"cannot stream from the slot {slot}: {reason}") from error
        self.confirm(lsn)

    def read(self) -> bytes | None:
        """Return the next message, None when none is there now."""
        message = self._reader.read_message()
        if message is None:
            return None
        self.message_lsn = message.data_start
        self.may_confirm_unasked = not self.message_lsn
        payload: bytes = message.payload
        return payload

    @property
    def position(self) -> int:
        """How far the server has read the WAL: outside a transaction, all that committed before was sent."""
        position: int = self._reader.wal_end
        return position

    def confirm(self, lsn: int) -> None:
        """Let the server forget the WAL before ``lsn``."""
        self._reporter.send_feedback(write_lsn=lsn, flush_lsn=lsn, apply_lsn=lsn, force=True)

    def wait(self, seconds: float, *others: Any) -> list[Any]:
        """Sleep until a message may be there, at most so long; return which of ``others`` are readable."""
        readable, _, _ = select.select([self._reader, *others], [], [], min(seconds, self._interval))
        return [other for other in others if other in readable]

    def close(self) -> None:
        self._connection.close()

    def report(self) -> None:
        """Say that we live, and ask the same, when it is time to; call it often.

        Raises OperationalError when nothing came for a long time.
        """
        if time.monotonic() < self._report_at:
            return
        self._report_at = time.monotonic() + self._interval
        heard = self._reader.io_timestamp
        # Counted and not timed: who was busy elsewhere has not listened.
        self._unanswered = self._unanswered + 1 if heard == self._heard else 0
        self._heard = heard
        if self._unanswered > _REPORTS:
            raise psycopg2.OperationalError("the server of the stream does not answer")
        self._reporter.send_feedback(reply=True, force=True)
