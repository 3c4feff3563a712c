"""Rows whose values of then were erased since: found when a table is read in the past, in bounded memory."""

from __future__ import annotations

from typing import Any

from django.db import connections

from bemi_django.time_travel.snapshots import Snapshot

#: Rows of a table that are kept in memory. If there are more, each is asked for when it is read.
MOST = 10_000

_TABLES = """
SELECT "table", array_agg(DISTINCT k.name)
FROM {log} CROSS JOIN LATERAL jsonb_array_elements_text(context -> 'columns') k (name)
WHERE operation = 'ERASED' AND id > %s::uuid AND database = %s AND primary_key IS NOT NULL
GROUP BY "table"
"""
# Executed with the path of the past: all names have their schema.
_ROWS = """
SELECT c.primary_key, ARRAY(SELECT pg_catalog.jsonb_array_elements_text(
    c.context OPERATOR(pg_catalog.->) 'columns'::pg_catalog.text))
FROM {log} c
WHERE c."table" OPERATOR(pg_catalog.=) %s::pg_catalog.text
    AND c.operation OPERATOR(pg_catalog.=) 'ERASED'::pg_catalog.text
    AND c.id OPERATOR(pg_catalog.>) %s::pg_catalog.uuid
    AND c.database OPERATOR(pg_catalog.=) %s::pg_catalog.text
    AND c.primary_key {keys}
"""
_ALL = _ROWS.replace("{keys}", "IS NOT NULL LIMIT %s")
_ONE = _ROWS.replace("{keys}", "OPERATOR(pg_catalog.=) %s::pg_catalog.text")


class ErasedRows:
    """The rows of which values before a moment may have been erased.

    Args:
        cursor: A cursor of the transaction that goes back, with a closed path.
        snapshot: The snapshot.
        bound: The greatest id of a change up to the moment.
    """

    def __init__(self, cursor: Any, snapshot: Snapshot, bound: str) -> None:
        self._log = snapshot.log
        self._since = bound, snapshot.database
        cursor.execute(_TABLES.format(log=self._log), self._since)
        self._tables = {table: frozenset(columns) for table, columns in cursor.fetchall()}
        self._rows: dict[str, dict[str, set[str]] | None] = {}

    def columns_of(self, table: str) -> frozenset[str]:
        """Return the columns of a table that were erased of any row."""
        return self._tables.get(table, frozenset())

    def of_row(self, alias: str, table: str, key: str) -> set[str]:
        """Return the columns that were erased of a row.

        Args:
            alias: Alias of the database, whose connection is in the past.
            table: The name of the table.
            key: The key of the row.
        """
        if table not in self._rows:
            found = self._read(alias, _ALL, [table, *self._since, MOST + 1])
            self._rows[table] = _by_key(found) if len(found) <= MOST else None
        rows = self._rows[table]
        if rows is None:
            rows = _by_key(self._read(alias, _ONE, [table, *self._since, key]))
        return rows.get(key, set())

    def _read(self, alias: str, query: str, parameters: list[Any]) -> list[tuple[str, list[str]]]:
        with connections[alias].cursor() as cursor:
            cursor.execute(query.format(log=self._log), parameters)
            return list(cursor.fetchall())


def _by_key(rows: list[tuple[str, list[str]]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, columns in rows:
        found.setdefault(key, set()).update(columns)
    return found
