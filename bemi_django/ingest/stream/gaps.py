"""Find out whether the slot goes on where the log ends, and record what was lost in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import orjson

from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.checkpoint import Checkpoint, Origin
from bemi_django.ingest.destination.copying import RowCopier
from bemi_django.ingest.destination.partitions import make_partition, microseconds_of, moment_of
from bemi_django.ingest.protocol.messages import Begin, Relation
from bemi_django.ingest.rows.canonical_json import canonical_context
from bemi_django.ingest.rows.copy_format import NULL, field, int64, jsonb
from bemi_django.ingest.rows.rendering import NO_ROW
from bemi_django.ingest.rows.row_layout import head
from bemi_django.ingest.stitching.stitched import ChangeHeader
from bemi_django.ingest.stitching.validation import NO_CONTEXT
from bemi_django.ingest.stream.slot import Slot
from bemi_django.ingest.stream.timelines import Branch
from bemi_django.wire.ids import change_id
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import HistoryStart, sequence_at

_NO_TABLE = Relation(0, "", "", ())


class SkippedTransactions(NamedTuple):
    """The transactions that commit between two positions, the last one included.

    If there is exactly one, ``begin`` is its first message and ``xid`` its 64-bit id.
    """

    first: int
    last: int
    begin: Begin | None = None
    xid: int | None = None


class Gap(NamedTuple):
    """A part of the WAL that will never be sent: from the position ``lsn`` to where the log goes on."""

    checkpoint: Checkpoint
    lsn: int
    reason: str

    def __str__(self) -> str:
        since = self.checkpoint.committed_at.isoformat(timespec="seconds")
        return f"{self.reason}; the log ends at {format_lsn(self.checkpoint.lsn)} ({since})"


def find_gap(checkpoint: Checkpoint, branch: Branch, slot: Slot | None, origin: Origin) -> Gap | None:
    """Return the gap between log and slot, or None if the slot goes on where the log ends.

    Args:
        checkpoint: Where the log ends.
        branch: How the server's WAL continues the log's.
        slot: The slot; None if there is none.
        origin: What the server's positions belong to.
    """
    reason = branch.reason or _reason(checkpoint, branch, slot, origin)
    return Gap(checkpoint, branch.common, reason) if reason else None


def _reason(checkpoint: Checkpoint, branch: Branch, slot: Slot | None, origin: Origin) -> str | None:
    if slot is None:
        if branch.left:
            return (
                f"the server was promoted to timeline {origin.timeline} and has no replication slot: "
                "the slot was not synchronised to it"
            )
        return "the replication slot is gone"
    if slot.is_lost:
        return (
            "the server does not have the WAL that the replication slot needs: it was removed "
            "(max_slot_wal_keep_size), or the slot was copied to this server without it"
        )
    if slot.confirmed > branch.common:
        return (
            f"the replication slot begins at {format_lsn(slot.confirmed)}: it was made again or moved on, "
            "or the log was restored to an older state"
        )
    if checkpoint.origin.publication != origin.publication:
        return "the publication was dropped" + (" and made again" if origin.publication else "")
    return None


def record_gap(
    cursor: Any,
    copier: RowCopier,
    gap: Gap,
    database: str,
    source: int,
    lsn: int,
    histories: Sequence[HistoryStart],
    who: Mapping[str, Any],
) -> bytes:
    """Write the gap as a row of ``changes``, and return that.

    Args:
        cursor: A cursor of the destination.
        copier: Writes the row.
        gap: What was lost.
        database: The name of the source's database.
        source: The number of the source in the ids of its changes.
        lsn: Where the log goes on.
        histories: The histories of the log, the one that goes on included.
        who: Who lets the log go on.
    """
    cursor.execute("SELECT clock_timestamp()")
    now: datetime = cursor.fetchone()[0]
    make_partition(cursor, now)
    context = {
        **who,
        "reason": gap.reason,
        "from_lsn": format_lsn(gap.lsn),
        "to_lsn": format_lsn(lsn),
        "from": gap.checkpoint.committed_at.isoformat(),
        "to": now.isoformat(),
    }
    # It sorts just before the first change that can follow.
    identifier = change_id(max(sequence_at(histories, lsn) - 8, 0), 0xFFFFFFFF, source)
    return _copy(cursor, copier, identifier, database, context, now, 0, lsn)


def record_skipped(
    cursor: Any,
    copier: RowCopier,
    skipped: SkippedTransactions,
    database: str,
    source: int,
    histories: Sequence[HistoryStart],
    who: Mapping[str, Any],
) -> None:
    """Write a gap for transactions that an operator has left out, in the place of the last one.

    Args:
        cursor: A cursor of the destination.
        copier: Writes the row.
        skipped: The transactions.
        database: The name of the source's database.
        source: The number of the source in the ids of its changes.
        histories: The histories of the log.
        who: Who left them out, and why.
    """
    begin = skipped.begin
    context: dict[str, Any] = {
        **who,
        "reason": "the transaction was left out with 'bemi skip'",
        "from_lsn": format_lsn(skipped.first),
        "to_lsn": format_lsn(skipped.last),
    }
    if begin is None:
        context["reason"] = "the transactions were left out with 'bemi skip': the server could not tell which"
    else:
        context["transaction_id"] = skipped.xid
    if "reason" in who:
        context["reason"] += f" ({who['reason']})"
    identifier = change_id(sequence_at(histories, skipped.last), 0, source)
    if begin is None:
        cursor.execute("SELECT clock_timestamp()")
        committed_at: datetime = cursor.fetchone()[0]
    else:
        committed_at = moment_of(begin.committed_at)
    make_partition(cursor, committed_at)
    xid = skipped.xid or 0
    _copy(cursor, copier, identifier, database, context, committed_at, xid, skipped.last)


def _copy(
    cursor: Any,
    copier: RowCopier,
    identifier: bytes,
    database: str,
    context: dict[str, Any],
    committed_at: datetime,
    xid: int,
    lsn: int,
) -> bytes:
    moment = microseconds_of(committed_at)
    fields = (
        field(identifier),
        head(database, "", ""),
        NULL,
        field(b"GAP"),
        jsonb(NO_ROW) * 2,
        jsonb(canonical_context(orjson.dumps(context))),
        int64(moment),
        int64(microseconds_of(datetime.now(timezone.utc))),
        int64(xid) + int64(lsn),
        NULL * 3,
    )
    row = b"".join(fields)
    header = ChangeHeader(Begin(lsn, moment, xid & 0xFFFFFFFF), 0, _NO_TABLE, NO_CONTEXT, lsn)
    copier.copy(cursor, [Pending(row, header, b"")])
    copier.seal(cursor)
    return row
