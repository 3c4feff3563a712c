"""Where a transaction stands in the past, and whether history is complete since then."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django.exceptions import HistoryError, PastIsReadOnly
from bemi_django.time_travel import late, snapshots
from bemi_django.time_travel.moments import LogPosition, Moment, place
from bemi_django.time_travel.redirection import Redirection
from bemi_django.time_travel.snapshots import Snapshot
from bemi_django.wire.lsn import format_lsn

_BOUND = "SELECT {home}._bemi_bound_v1(%s)::text"
_TABLES = "SELECT schema, name, since - '0/0', since_time FROM {home}._bemi_past WHERE definition <> ''"
# What the past cannot be derived across.
_BREAKING = ("GAP", "SKIPPED", "TRUNCATE")
_BREAKS = """
SELECT operation, schema, "table", position, committed_at, context::text FROM {home}.changes
WHERE operation IN ('GAP', 'SKIPPED', 'TRUNCATE') AND id > %s::uuid AND database = current_database()
    AND pg_visible_in_snapshot(transaction_id::text::xid8, %s::pg_snapshot)
ORDER BY id
"""
# What was there before the oldest month that is left was dropped with its partition.
_OLDEST = """
SELECT position, committed_at FROM {home}.changes
WHERE database = current_database() AND %s < (
    SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''([^'']+)''')::timestamptz)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = '{home}.changes'::regclass)
    - interval '1 month'
ORDER BY id LIMIT 1
"""
_PATH = """
SELECT string_agg(path.part, ', ' ORDER BY place, is_present), coalesce(bool_or(NOT is_present), false)
FROM (
    SELECT quote_ident(name) AS part, place, true AS is_present
    FROM unnest(current_schemas(false)) WITH ORDINALITY s (name, place)
    UNION ALL
    SELECT quote_ident(n.nspname), place, false
    FROM unnest(current_schemas(false)) WITH ORDINALITY s (name, place)
    JOIN pg_namespace n ON n.nspname = left('_bemi_past_' || s.name, 63)
) path
"""
# A table that came without event triggers, and without "sync" since; beside tracked ones.
_UNNOTICED = """
SELECT string_agg(format('%%I.%%I', n.nspname, c.relname), ', ' ORDER BY n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_namespace past ON past.nspname = left('_bemi_past_' || n.nspname, 63)
WHERE n.nspname = ANY (current_schemas(false)) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND c.relpersistence <> 't' AND NOT starts_with(c.relname, '_bemi_') AND c.relname <> 'bemi_dead_letters'
    AND c.oid <> to_regclass(%s) AND NOT EXISTS (
        SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = to_regclass(%s))
    AND EXISTS (SELECT FROM pg_class v WHERE v.relnamespace = past.oid AND v.relkind = 'v')
    AND NOT EXISTS (SELECT FROM pg_class v WHERE v.relnamespace = past.oid AND v.relname = c.relname)
"""
_SET = """
SELECT set_config('bemi.as_of', %s, true), set_config('bemi.as_of_late', %s, true),
       set_config('bemi.as_of_unknown', %s, true),
       -- Compiling would take longer than most queries.
       set_config('jit', 'off', true)
"""

_WRITE = re.compile(
    r"(?:\s|/\*.*?\*/|--[^\n]*\n)*(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE)\b", re.IGNORECASE | re.DOTALL
)


class PastTable(NamedTuple):
    """``since``: from which LSN on its past is known, None where it is not; ``time``: when that was."""

    schema: str
    name: str
    since: Any
    time: datetime


class Past(NamedTuple):
    """What a connection sees; kept on it as ``bemi_past``. ``tables`` have a view of their past."""

    place: LogPosition
    snapshot: Snapshot
    tables: list[PastTable]
    redirection: Redirection

    def prepared(self, sql: str) -> str:
        """A statement as it is to be run in the past. Raises PastIsReadOnly for a write."""
        if _WRITE.match(sql):
            raise PastIsReadOnly
        return self.redirection.of(sql)


def look(connection: BaseDatabaseWrapper, home: str, moment: Moment) -> Past | None:
    """Take the transaction's snapshot and go back; None when another snapshot must be taken."""
    snapshot = snapshots.take(connection, home)
    if snapshot is not None:
        snapshot = snapshots.completed(snapshot, connection.alias)
    if snapshot is None:
        return None
    with connection.cursor() as cursor:
        found = place(cursor, snapshot, moment)
        if found.position > snapshot.position:
            return None
        if any(not change.is_seen and change.position <= found.position for change in snapshot.late):
            # The server sends it a moment before it shows it: with synchronous replication a long moment.
            return None
        cursor.execute(_PATH)
        path, is_known = cursor.fetchone()
        if not is_known:
            raise HistoryError(
                "no schema of the search path has views of the past: run 'manage.py bemi sync' as a role "
                "that may create schemas (GRANT CREATE ON DATABASE)"
            )
        _check_noticed(cursor, home)
        cursor.execute("SELECT set_config('search_path', %s, true)", [path])
        cursor.execute(_TABLES.format(home=home))
        tables = [PastTable(*row) for row in cursor.fetchall()]
        past = Past(found, snapshot, tables, Redirection({(table.schema, table.name) for table in tables}))
        return go(cursor, past)


def _check_noticed(cursor: Any, home: str) -> None:
    cursor.execute(_UNNOTICED, [f"{home}.changes"] * 2)
    (names,) = cursor.fetchone()
    if names is not None:
        raise HistoryError(
            f"{names} came unnoticed and would be seen as they are now: run 'manage.py bemi sync'"
        )


def go(cursor: Any, past: Past) -> Past:
    """Set the moment, when history is complete since then."""
    bound = _bound(cursor, past)
    _check_start(cursor, past)
    unknown = {**_tracked_later(past), **_broken(cursor, past, bound)}
    changes = late.rendered(past.snapshot.late, uuid.UUID(bound))
    cursor.execute(_SET, [bound, changes, json.dumps(unknown)])
    return past


def _bound(cursor: Any, past: Past) -> str:
    cursor.execute(_BOUND.format(home=past.snapshot.home), [past.place.position])
    return str(cursor.fetchone()[0])


def _check_start(cursor: Any, past: Past) -> None:
    snapshot = past.snapshot
    if past.place.is_before(snapshot.start, snapshot.started_at):
        raise HistoryError(f"{past.place.said} is before {_from(snapshot.start, snapshot.started_at)}")
    if past.place.position < snapshot.former:
        raise HistoryError(
            f"{past.place.said} is not beyond {format_lsn(snapshot.former)}, up to where the log may have "
            "changes of a server before this one"
        )
    cursor.execute(_OLDEST.format(home=snapshot.home), [snapshot.started_at])
    oldest = cursor.fetchone()
    if oldest is not None and past.place.is_before(*oldest):
        raise HistoryError(f"{past.place.said} is older than what was kept: {_from(*oldest)}")


def _tracked_later(past: Past) -> dict[str, str]:
    later = {}
    for schema, name, since, time in past.tables:
        if since is not None and past.place.is_before(int(since), time):
            later[f"{schema}.{name}"] = (
                f"{past.place.said} is before {_from(since, time, f'{schema}.{name}')}"
            )
    return later


def _broken(cursor: Any, past: Past, bound: str) -> dict[str, str]:
    cursor.execute(_BREAKS.format(home=past.snapshot.home), [bound, past.snapshot.snapshot])
    breaks = cursor.fetchall() + [
        (change.operation, change.schema, change.table, change.position, change.committed_at, "{}")
        for change in past.snapshot.late
        if change.operation in _BREAKING and change.is_seen and change.position > past.place.position
    ]
    broken = {}
    for operation, schema, table, position, committed_at, context in breaks:
        complete = _from(position, committed_at, f"{schema}.{table}" if table else "")
        if operation == "GAP":
            reason = json.loads(context).get("reason", "")
            raise HistoryError(f"changes since {past.place.said} were lost ({reason}): {complete}")
        what = "was truncated" if operation == "TRUNCATE" else "had changes that were not to be recorded"
        broken[f"{schema}.{table}"] = f"since {past.place.said} {schema}.{table} {what}: {complete}"
    return broken


def _from(position: int, time: Any, of: str = "") -> str:
    subject = f"history of {of}" if of else "history"
    return f"{subject} is complete from {time.isoformat(timespec='seconds')} ({format_lsn(int(position))}) on"
