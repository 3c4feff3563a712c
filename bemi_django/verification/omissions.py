"""What the settings have left out of the log of one table, which explains differences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from bemi_django.verification.log_queries import LoggedName
from bemi_django.verification.records.result import MISSING

_COLUMNS = """
SELECT DISTINCT "column" FROM _bemi.omitted_columns
WHERE slot = %s AND last > 0 AND (schema, "table") IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_CHANGES = """
SELECT coalesce(sum(changes), 0)::bigint,
       coalesce(sum(changes) FILTER (WHERE reason = 'condition'), 0)::bigint
FROM _bemi.omitted_changes
WHERE slot = %s AND (schema, "table") IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""


class TableOmissions(NamedTuple):
    """What was left out.

    Attributes:
        columns: Columns that were ignored at some time: the log may have none of their values, or older ones.
        changes: The number of changes that were left out.
        by_condition: Those of them that a condition left out, after which anything may differ.
    """

    columns: frozenset[str]
    changes: int
    by_condition: int

    def explains(self, kind: str, explained: int) -> bool:
        """Return whether a change that was left out may be why a row differs.

        An update that is left out gives a row that is older than the log a new transaction, so the row
        seems to be missing. No more differences are explained than changes were left out.

        Args:
            kind: The kind of the difference.
            explained: The number of differences that were explained before.
        """
        return explained < (self.changes if kind == MISSING else self.by_condition)


def read_omissions(destination: Any, slot: str, names: Iterable[LoggedName]) -> TableOmissions:
    """Return what was left out of the log of a table.

    Args:
        destination: A connection to the log.
        slot: The slot of the worker.
        names: The names under which the rows of the table were recorded.
    """
    places = [(name.schema, name.table) for name in names]
    given = [slot, [schema for schema, _ in places], [table for _, table in places]]
    with destination.cursor() as cursor:
        cursor.execute(_COLUMNS, given)
        columns = frozenset(column for (column,) in cursor.fetchall())
        cursor.execute(_CHANGES, given)
        return TableOmissions(columns, *cursor.fetchone())
