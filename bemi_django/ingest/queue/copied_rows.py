"""Leave out rows of a baseline that have a change in the log: a queue carries them for all logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bemi_django.ingest.queue.division.taken_chunk import TakenChunk
from bemi_django.ingest.queue.message.row_values import (
    DATABASE,
    KEY,
    OLD_KEY,
    OPERATION,
    POSITION,
    SCHEMA,
    TABLE,
    Values,
)
from bemi_django.ingest.stitching.operations import BASELINE, EVENT
from bemi_django.wire.lsn import format_lsn

# The rows are as they were at their place, whatever a snapshot shows.
_RECORDED = """
SELECT _bemi.recorded_v1(%s, 'FFFFFFFF/FFFFFFFF', '9223372036854775807:9223372036854775807:', %s, %s, %s,
                         %s, %s)
"""
# As the function before counts: an LSN comes again in another history.
_SEQUENCE = "SELECT _bemi.sequence_v1(%s::text, %s::pg_lsn)"
#: Keys that the log is asked for at once.
_KEYS = 500

#: Database, schema and table.
_Table = tuple[str, str, str]


def leave_out_known(cursor: Any, taken: Sequence[TakenChunk]) -> None:
    """Leave out rows of baselines that the log knows.

    Args:
        cursor: A cursor of the destination, in the transaction that writes the chunks.
        taken: Chunks of any sources and lanes, in the order in which they were taken.
    """
    of_sources: dict[str, list[TakenChunk]] = {}
    for one in taken:
        of_sources.setdefault(one.chunk.source, []).append(one)
    for source, chunks in of_sources.items():
        changes = [change for one in chunks for change in one.changes]
        if any(change[OPERATION] == BASELINE for change in changes):
            named_since = {table: lsn for one in chunks for table, lsn in one.chunk.named_since.items()}
            kept = set(map(id, _fresh(cursor, source, changes, named_since)))
            for one in chunks:
                one.changes = [change for change in one.changes if id(change) in kept]


def _fresh(
    cursor: Any, source: str, changes: Sequence[Values], named_since: Mapping[tuple[str, str], int]
) -> list[Values]:
    """Return changes of a source without rows of a baseline that have a change in the log, or among these."""
    wanted: dict[_Table, list[str]] = {}
    for change in changes:
        if change[OPERATION] == BASELINE and change[KEY] is not None:
            wanted.setdefault(_table_of(change), []).append(change[KEY])
    known: set[tuple[_Table, str]] = set()
    for table, keys in wanted.items():
        found = _recorded(cursor, source, table, named_since.get(table[1:]), keys)
        known.update((table, key) for key in found)
    kept: list[Values] = []
    begins = {table: _sequence_at(cursor, source, lsn) for table, lsn in named_since.items()}
    for change in changes:
        table, operation = _table_of(change), change[OPERATION]
        if operation != BASELINE or (table, change[KEY]) not in known:
            kept.append(change)
        # What was before is of another table, which had the name.
        if operation != EVENT and change[POSITION] >= begins.get(table[1:], 0):
            known |= {(table, key) for key in (change[KEY], change[OLD_KEY]) if key is not None}
    return kept


def _sequence_at(cursor: Any, source: str, lsn: int) -> int:
    cursor.execute(_SEQUENCE, [source, format_lsn(lsn)])
    (found,) = cursor.fetchone()
    return int(found)


def _table_of(change: Values) -> _Table:
    return change[DATABASE], change[SCHEMA], change[TABLE]


def _recorded(cursor: Any, source: str, table: _Table, since: int | None, keys: list[str]) -> set[str]:
    found: set[str] = set()
    lsn = None if since is None else format_lsn(since)
    for start in range(0, len(keys), _KEYS):
        cursor.execute(_RECORDED, [source, *table, lsn, keys[start : start + _KEYS]])
        found.update(cursor.fetchone()[0] or ())
    return found
