"""The tables whose past can be shown, and why that of some is not known at a moment."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from bemi_django.exceptions import HistoryError
from bemi_django.time_travel import late
from bemi_django.time_travel.moments import LogPosition
from bemi_django.time_travel.snapshots import Snapshot
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import lsn_of

_TABLES = """
SELECT schema, name,
       CASE WHEN system = (pg_control_system()).system_identifier THEN _bemi.sequence_v1(%s::text, since) END,
       since_time AT TIME ZONE 'UTC', _bemi.past_schema_v1(schema)::text,
       row_security_active(relation), may_exchange
FROM _bemi.past WHERE definition <> ''
"""
# Operations across which the past cannot be derived.
_BREAKING = ("GAP", "SKIPPED", "TRUNCATE")
_BREAKS = """
SELECT operation, schema, "table", _bemi.sequence_v1(id), committed_at AT TIME ZONE 'UTC',
       context ->> 'reason'
FROM {log}
WHERE operation IN ('GAP', 'SKIPPED', 'TRUNCATE') AND id > %s::uuid AND database = %s
    AND NOT diverged
    AND pg_visible_in_snapshot(transaction_id::text::xid8, %s::pg_snapshot)
ORDER BY id
"""
# Changes that were removed from the log, the last ones of each table.
_REMOVED = """
SELECT schema, "table", _bemi.sequence_v1(max(last::text COLLATE "C")::uuid),
       max(committed_at) AT TIME ZONE 'UTC'
FROM _bemi.incomplete WHERE database = %s AND (last > %s::uuid OR committed_at > %s)
GROUP BY schema, "table"
"""


class UnknownPast(NamedTuple):
    """Why the past of a table is not known, and from when on it is."""

    reason: str
    since: datetime


class PastTable(NamedTuple):
    """A table whose past is known from the sequence number ``since`` (at ``time``) on.

    It is None if the past is not known, or if the table was tracked before the log came to this server.
    ``past`` is the schema that has its view. ``has_policies``: row-level security applies to the reader.
    ``may_exchange``: two rows may exchange their keys in one transaction.
    """

    schema: str
    name: str
    since: Any
    time: datetime
    past: str
    has_policies: bool
    may_exchange: bool


def read_tables(cursor: Any, slot: str) -> list[PastTable]:
    """Return the tables that have a view of the past, by the log of a slot."""
    cursor.execute(_TABLES, [slot])
    return [
        PastTable(schema, name, since, late.in_utc(time), *rest)
        for schema, name, since, time, *rest in cursor.fetchall()
    ]


def protected(tables: Iterable[PastTable]) -> dict[str, str]:
    """Return why the past of tables with row-level security is not shown, by ``schema.table``.

    Its policies filter the rows of the table, but not the earlier ones, which come from the log.
    """
    return {
        f"{table.schema}.{table.name}": f"row-level security applies to {table.schema}.{table.name}, and its "
        "policies cannot filter rows of the past: use a role that they do not apply to, or pass "
        "ignore_policies=True (--ignore-policies)"
        for table in tables
        if table.has_policies
    }


def tracked_later(tables: Iterable[PastTable], position: LogPosition) -> dict[str, UnknownPast]:
    """Return why the past of tables that are tracked since later than a position is not known at it."""
    later = {}
    for schema, name, since, time, *_ in tables:
        if since is not None and position.is_before(int(since), time):
            later[f"{schema}.{name}"] = UnknownPast(
                f"{position.said} is before {complete_from(since, time, f'{schema}.{name}')}", time
            )
    return later


def removed(cursor: Any, snapshot: Snapshot, moment: LogPosition, bound: str) -> dict[str, UnknownPast]:
    """Return why the past of tables is not known from whose log changes after the moment were removed.

    Args:
        cursor: A cursor of the transaction that goes back.
        snapshot: What it sees.
        moment: The moment.
        bound: The greatest id of a change up to it.

    Returns:
        A reason for each ``schema.table``.

    Raises:
        HistoryError: A gap was removed: nothing is known.
    """
    cursor.execute(_REMOVED, [snapshot.database, bound, moment.time])
    found = {}
    for schema, table, position, time in cursor.fetchall():
        committed_at = late.in_utc(time)
        if not moment.is_before(int(position), committed_at):
            continue
        name = f"{schema}.{table}"
        complete = complete_from(position, committed_at, name if table else "")
        reason = f"{moment.said} is before changes that were removed from the log: {complete}"
        if not table:
            raise HistoryError(reason, committed_at)
        found[name] = UnknownPast(reason, committed_at)
    return found


def broken(cursor: Any, snapshot: Snapshot, moment: LogPosition, bound: str) -> dict[str, UnknownPast]:
    """Return why the past of tables is not known across a change such as TRUNCATE, in the same way."""
    cursor.execute(_BREAKS.format(log=snapshot.log), [bound, snapshot.database, snapshot.snapshot])
    breaks = [(*row[:4], late.in_utc(row[4]), row[5]) for row in cursor.fetchall()] + [
        (change.operation, change.schema, change.table, change.position, change.committed_at, None)
        for change in snapshot.late
        if change.operation in _BREAKING and change.is_seen and change.position > moment.position
    ]
    found = {}
    for operation, schema, table, position, committed_at, reason in breaks:
        complete = complete_from(position, committed_at, f"{schema}.{table}" if table else "")
        if operation == "GAP":
            raise HistoryError(
                f"changes since {moment.said} were lost ({reason or ''}): {complete}", committed_at
            )
        what = "was truncated" if operation == "TRUNCATE" else "had changes that were excluded from the log"
        said = f"since {moment.said} {schema}.{table} {what}: {complete}"
        found[f"{schema}.{table}"] = UnknownPast(said, committed_at)
    return found


def complete_from(position: int, time: Any, of: str = "") -> str:
    """Return a sentence that says from when on the log is complete, of a table or at all."""
    subject = f"history of {of}" if of else "history"
    lsn = format_lsn(lsn_of(int(position)))
    return f"{subject} is complete from {time.isoformat(timespec='seconds')} ({lsn}) on"
