"""Find out whether the slot goes on where the log ends, and record what was lost in between."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import orjson

from bemi_django.ingest.destination.checkpoint import Checkpoint, Origin
from bemi_django.ingest.stream.slot import Slot
from bemi_django.wire.ids import change_id
from bemi_django.wire.lsn import format_lsn

_GAP = """
INSERT INTO changes (id, database, schema, "table", operation, context, committed_at, queued_at,
                     transaction_id, position)
VALUES (%s, %s, '', '', 'GAP', %s, clock_timestamp(), clock_timestamp(), 0, %s)
"""


class Gap(NamedTuple):
    """A part of the WAL that will never be sent: from the checkpoint to where the log goes on."""

    checkpoint: Checkpoint
    reason: str

    def __str__(self) -> str:
        since = self.checkpoint.committed_at.isoformat(timespec="seconds")
        return f"{self.reason}; the log ends at {format_lsn(self.checkpoint.lsn)} ({since})"


def find_gap(checkpoint: Checkpoint | None, slot: Slot | None, origin: Origin, end: int) -> Gap | None:
    """Return the gap between log and slot, or None if the slot goes on where the log ends.

    Args:
        checkpoint: Where the log ends; None if there is no log yet.
        slot: The slot; None if there is none.
        origin: What the server's positions belong to.
        end: The LSN at which the server's WAL ends.
    """
    if checkpoint is None:
        return None
    reason = _reason(checkpoint, slot, origin, end)
    return Gap(checkpoint, reason) if reason else None


def _reason(checkpoint: Checkpoint, slot: Slot | None, origin: Origin, end: int) -> str | None:
    known = checkpoint.origin
    if known.system_identifier != origin.system_identifier:
        return f"the server is another one (system {known.system_identifier}, now {origin.system_identifier})"
    if known.timeline != origin.timeline:
        return f"the server is on timeline {origin.timeline}, the log on {known.timeline}"
    if end < checkpoint.lsn:
        # It has no new timeline, so its disk was put back.
        return f"the server was restored to an older state: its WAL ends at {format_lsn(end)}"
    if slot is None:
        return "the replication slot is gone"
    if slot.is_lost:
        return "the server has removed WAL that the replication slot needed (max_slot_wal_keep_size)"
    if slot.confirmed > checkpoint.lsn:
        return (
            f"the replication slot begins at {format_lsn(slot.confirmed)}: it was made again or moved on, "
            "or the log was restored to an older state"
        )
    if known.publication != origin.publication:
        return "the publication was dropped" + (" and made again" if origin.publication else "")
    return None


def record_gap(cursor: Any, gap: Gap, database: str, source: int, lsn: int) -> None:
    """Write the gap as a row of ``changes``.

    Args:
        cursor: A cursor of the destination.
        gap: What was lost.
        database: The name of the source's database.
        source: The number of the source in the ids of its changes.
        lsn: Where the log goes on.
    """
    cursor.execute("SELECT clock_timestamp()")
    now: datetime = cursor.fetchone()[0]
    context = {
        "reason": gap.reason,
        "from_lsn": format_lsn(gap.checkpoint.lsn),
        "to_lsn": format_lsn(lsn),
        "from": gap.checkpoint.committed_at.isoformat(),
        "to": now.isoformat(),
    }
    # It sorts just before the first change that can follow.
    identifier = change_id(max(lsn - 8, 0), 0xFFFFFFFF, source)
    cursor.execute(_GAP, [_uuid(identifier), database, orjson.dumps(context).decode(), lsn])


def _uuid(identifier: bytes) -> str:
    return identifier.hex()
