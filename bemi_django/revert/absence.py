"""What logs lack of what was changed together with the changes to revert: removed, or not there yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from bemi_django import conf, destinations
from bemi_django.exceptions import LogBehind
from bemi_django.revert import wording
from bemi_django.schema.search_path import closed_cursor
from bemi_django.wire.ids import sequence_in, source_in, source_of

if TYPE_CHECKING:
    from bemi_django.log.change import Change

# Asked of the catalog, because a name in a schema that is closed is an error.
_MAY_READ = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '_bemi' AND c.relname = 'incomplete' AND has_schema_privilege(n.oid, 'USAGE')
    AND has_table_privilege(c.oid, 'SELECT')
"""
_PRUNED = """
SELECT schema, "table", max(committed_at) FROM _bemi.incomplete
WHERE database = %s AND "table" <> '' AND committed_at >= %s AND month BETWEEN %s AND %s
GROUP BY schema, "table" ORDER BY schema, "table"
"""
# Asked of the catalog, too: who may not read lanes may know whether there ever was one.
_MAY_READ_LANES = """
SELECT coalesce(
        bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')), false),
    coalesce(max(pg_relation_size(c.oid)) FILTER (WHERE c.relname = 'lanes'), 0) > 0
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '_bemi' AND c.relname IN ('lanes', 'checkpoint')
"""
_SLOWEST = """
SELECT k.system_identifier, min(l.sequence) FROM _bemi.lanes l JOIN _bemi.checkpoint k USING (slot)
GROUP BY slot, k.system_identifier HAVING count(*) > %s
"""
_BEHIND = (
    "the log in {log} does not have all changes of the transaction yet: wait until 'manage.py bemi consume' "
    "has written what the queue has"
)
_UNKNOWN = (
    "whether the log in {log} has all changes of the transaction is not known: the role of the connection "
    "may not read _bemi.lanes and _bemi.checkpoint; run what 'manage.py bemi grants' prints"
)
#: The first changes of a request are as much older than the first one that is left, at most.
_MARGIN = timedelta(hours=1)


class PrunedTable(NamedTuple):
    """A table whose changes up to a moment were removed from the log."""

    schema: str
    table: str
    last: datetime

    def __str__(self) -> str:
        return wording.removed((self.schema, self.table), f"{self.last:%Y-%m-%d %H:%M:%S}")


def pruned_tables(changes: Sequence[Change]) -> tuple[PrunedTable, ...]:
    """Return the tables whose changes were removed from the log for the time of some changes.

    A role that may not read from when on the log is complete gets none.

    Args:
        changes: Changes of one database, at least one.
    """
    moments = [change.committed_at.astimezone(timezone.utc) for change in changes]
    first, last = min(moments) - _MARGIN, max(moments)
    asked = [changes[0].database, first, _month(first), _month(last)]
    return tuple(_pruned(*row) for log in _logs_of(changes) for row in _removed(log, asked))


def require_arrived(changes: Sequence[Change]) -> None:
    """Check that all lanes of a queue have come beyond the newest change, in each destination.

    Args:
        changes: Changes of one database, at least one.

    Raises:
        LogBehind: What was changed together with it may still be in the queue, or the role may not read
            whether it is.
    """
    newest = max(change.pk.bytes for change in changes)
    source = changes[0].database, source_in(newest)
    logs = _logs_of(changes)
    # Where there is one lane, its changes come in their order.
    lanes = 0 if len(logs) > 1 else 1
    reached = {log: found for log in logs if (found := _reached(log, lanes, *source)) is not None}
    # One that has not begun lacks everything, if there is a queue.
    behind = [log for log, sequence in reached.items() if sequence <= sequence_in(newest)]
    if behind and any(reached.values()):
        raise LogBehind(_BEHIND.format(log=behind[0]))


def _logs_of(changes: Sequence[Change]) -> list[str]:
    """Return the destinations of changes, and all others that may have what was changed with them."""
    having = destinations.of_database(changes[0].database)
    found = {change.destination or conf.destination() for change in changes}
    return sorted(found.union(having) if len(having) > 1 else found)


def _reached(log: str, lanes: int, database: str, source: int) -> int | None:
    """Return up to where a log has all of more than some lanes, 0 without them; None if that is not known."""
    with closed_cursor(log) as cursor:
        cursor.execute(_MAY_READ_LANES)
        may_read, has_queue = cursor.fetchone()
        # Several destinations have a queue, even if one of them has written nothing yet.
        if not may_read and (has_queue or not lanes):
            raise LogBehind(_UNKNOWN.format(log=log))
        if not has_queue:
            # Without a right to it, one that is empty is as good as one that can be read.
            return 0 if may_read else None
        cursor.execute(_SLOWEST, [lanes])
        found = [slowest for of, slowest in cursor.fetchall() if source_of(of, database) == source]
        # A slot that was given up stays where it is.
        return max(found, default=0)


def _removed(log: str, asked: list[Any]) -> list[Any]:
    with closed_cursor(log) as cursor:
        cursor.execute(_MAY_READ)
        if cursor.fetchone() == (0,):
            return []
        cursor.execute(_PRUNED, asked)
        return list(cursor.fetchall())


def _month(moment: datetime) -> Any:
    return moment.date().replace(day=1)


def _pruned(schema: str, table: str, last: datetime) -> PrunedTable:
    return PrunedTable(schema, table, last.astimezone(timezone.utc))
