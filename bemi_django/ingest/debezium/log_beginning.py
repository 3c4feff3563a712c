"""Begin the log of a source whose changes Debezium sends, or find where it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.debezium.order import RecordedEnd
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.destination.checkpoint import Checkpoints, Origin
from bemi_django.ingest.destination.histories import Histories
from bemi_django.schema.replication.recorded_name import recorded_name
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import HistoryStart, lsn_of

#: Why a history begins: it tells a log that Debezium fills from one of a slot.
_REASON = "Debezium's records begin"
_READ_REASON = "SELECT reason FROM _bemi.histories WHERE slot = %s ORDER BY number DESC LIMIT 1"
_COMMITTED_AT = "SELECT committed_at FROM _bemi.lanes WHERE slot = %s AND lane = 0"
_SERVER = """
SELECT (pg_control_system()).system_identifier::text, (pg_control_checkpoint()).timeline_id,
       oid::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint, datname::text
FROM pg_database WHERE datname = current_database()
"""
_FOLLOW = "UPDATE _bemi.checkpoint SET timeline = %s WHERE slot = %s"
# The transaction that is not over has been written as far as it has come, and nothing more of it is in sight.
_SHOW = """
UPDATE _bemi.checkpoint SET lsn = %s::pg_lsn, updated_at = clock_timestamp(), trouble = NULL
WHERE slot = %s AND lsn < %s::pg_lsn
"""


class SourceServer(NamedTuple):
    """The server of the source, its next transaction id of 64 bits, and the source's oid.

    ``name`` is that of the source in the log, ``server_name`` that on its server.
    """

    system_identifier: str
    timeline: int
    database: int
    next_xid: int
    server_name: str
    name: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The names that records may have for it, some of which are older than its present one."""
        return frozenset((self.server_name, self.name))


class OpenLog(NamedTuple):
    """Where the log ends.

    ``message`` is what was stored with the position, of the ``stream`` with this identity, and
    ``committed_at`` the time of the last commit.
    """

    position: LanePosition
    histories: list[HistoryStart]
    message: int
    committed_at: int | None
    stream: str = ""

    @property
    def first_lsn(self) -> int:
        """Where the first event lies of the transaction that is not over; 0 if not known."""
        return max(-self.message, 0)

    @property
    def first_number(self) -> int:
        """The number of its message in the stream; 0 if not known."""
        return self.message + 1 if self.message > 0 else 0

    def end(self) -> RecordedEnd:
        """Return the end for those who follow transactions."""
        is_open, start = self.first_lsn > 0 or self.position.ordinal > 0, self.histories[-1].lsn
        return RecordedEnd(lsn_of(self.position.sequence), self.committed_at, is_open, start)


def server_of(connection: Any, destination: Any, slot: str) -> SourceServer:
    """Return the server of a connection to the source.

    Args:
        connection: The connection.
        destination: A connection to the database of the log.
        slot: The name under which the log knows the source.
    """
    with connection.cursor() as cursor, destination, destination.cursor() as log:
        cursor.execute(_SERVER)
        found = SourceServer(*cursor.fetchone())
        return found._replace(name=recorded_name(cursor, log, slot))


def find_log(
    destination: Any, slot: str, server: SourceServer, accept: Callable[[str], None] | None = None
) -> OpenLog | None:
    """Return where the log ends; None if the source has none.

    Args:
        destination: A connection to the database of the log.
        slot: The name under which the log knows the source.
        server: The server of the source.
        accept: Called with the reason to go on after a promotion or a restore, which may have lost the end
            of the WAL. None does not go on.

    Raises:
        ReplicationError: The log is one of a slot, of another server, or of another timeline.
    """
    checkpoint = Checkpoints(destination, slot).read()
    if checkpoint is None:
        return None
    with destination, destination.cursor() as cursor:
        cursor.execute(_READ_REASON, [slot])
        reason = (cursor.fetchone() or [""])[0]
        state = lanes.read(cursor, slot).get(0)
        if reason != _REASON or state is None:
            raise ReplicationError(
                f"the log of {slot} was written by 'bemi run', and Debezium does not say where it goes on: "
                "go on with 'bemi run', or give the log another database with BEMI_DESTINATION"
            )
        if checkpoint.origin.system_identifier != server.system_identifier:
            raise ReplicationError(
                f"the log of {slot} is one of another server, whose positions mean something else: give the "
                "log another database with BEMI_DESTINATION"
            )
        if checkpoint.origin.timeline != server.timeline:
            reason = (
                f"the source was promoted or restored: it is on timeline {server.timeline}, and the "
                f"log of {slot} on {checkpoint.origin.timeline}"
            )
            if accept is None:
                raise ReplicationError(
                    f"{reason}. Changes that were lost by it may be in the log, and others may never come: "
                    "run with --accept-gap to go on"
                )
            accept(reason)
            cursor.execute(_FOLLOW, [server.timeline, slot])
        cursor.execute(_COMMITTED_AT, [slot])
        (committed_at,) = cursor.fetchone()
        histories = Histories(slot).read(cursor)
        return OpenLog(state.position, histories, state.message, committed_at, state.stream)


def begin_log(destination: Any, slot: str, server: SourceServer, lsn: int) -> OpenLog:
    """Begin the log of a source.

    Args:
        destination: A connection to the database of the log.
        slot: The name under which the log is to know the source.
        server: The server of the source.
        lsn: Where the first record lies, in bytes.
    """
    origin = Origin(server.system_identifier, server.timeline, 0, server.database)
    histories = Histories(slot)
    with destination, destination.cursor() as cursor:
        histories.begin(cursor, server.system_identifier, server.timeline, lsn, _REASON)
        Checkpoints(destination, slot).start(cursor, lsn, server.next_xid, origin, server.name)
        found = histories.read(cursor)
        lanes.begin(cursor, slot, 1, lsn, found, is_queued=False)
        return OpenLog(lanes.read(cursor, slot)[0].position, found, 0, None)


def show_open_transaction(destination: Any, slot: str, lsn: int) -> None:
    """Move the checkpoint past a transaction of which nothing more has come.

    Args:
        destination: A connection to the database of the log.
        slot: The name under which the log knows the source.
        lsn: The position of the transaction, in bytes.
    """
    with destination, destination.cursor() as cursor:
        cursor.execute(_SHOW, [format_lsn(lsn), slot, format_lsn(lsn)])
