"""Tables of which the log no longer has what was changed together with the changes to revert."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from bemi_django import conf
from bemi_django.revert import wording
from bemi_django.schema.search_path import closed_cursor

if TYPE_CHECKING:
    from bemi_django.log.change import Change

# Asked of the catalog, because a name in a schema that is closed is an error.
_MAY_READ = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = '_bemi' AND c.relname = 'completeness' AND has_schema_privilege(n.oid, 'USAGE')
    AND has_table_privilege(c.oid, 'SELECT')
"""
_PRUNED = """
SELECT schema, "table", max(committed_at) FROM _bemi.completeness
WHERE database = %s AND "table" <> '' AND committed_at >= %s AND month BETWEEN %s AND %s
GROUP BY schema, "table" ORDER BY schema, "table"
"""
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
    logs = sorted({change.destination or conf.destination() for change in changes})
    return tuple(_pruned(*row) for log in logs for row in _removed(log, asked))


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
