"""Render values of the log as the columns of a table would now: their types may have been altered since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DatabaseError, transaction

from bemi_django.log.live.live_tables import LiveTable, RowValues, record
from bemi_django.log.live.row_session import rows_of
from bemi_django.log.lossless_json import dumps

_RENDER = """
SELECT pg_catalog.to_jsonb(r.*)::pg_catalog.text
FROM pg_catalog.jsonb_array_elements(%s::pg_catalog.jsonb) WITH ORDINALITY wanted (value, number)
CROSS JOIN LATERAL {given}
ORDER BY wanted.number
"""


def rendered(cursor: Any, table: LiveTable, rows: Sequence[RowValues]) -> list[RowValues]:
    """Return rows with each value as its column would have it now.

    Args:
        cursor: A cursor of :func:`row_session`.
        table: The table.
        rows: Rows, or parts of rows.

    Returns:
        The rows, in which a value that the column does not accept is as it was.
    """
    if not any(rows):
        return list(rows)
    try:
        with transaction.atomic(using=cursor.db.alias):
            cursor.execute(
                _RENDER.format(given=record(table, "wanted.value", "r")),
                [dumps([table.readable(row) for row in rows])],
            )
            found = [row for (row,) in rows_of(cursor)]
    except DatabaseError:
        return [_one_by_one(cursor, table, row, is_alone=len(rows) == 1) for row in rows]
    return [
        {column: new.get(column, value) for column, value in row.items()}
        for row, new in zip(rows, found, strict=True)
    ]


def _one_by_one(cursor: Any, table: LiveTable, row: RowValues, *, is_alone: bool) -> RowValues:
    if not is_alone:
        return rendered(cursor, table, [row])[0]
    if len(row) <= 1:
        return row
    parts = (rendered(cursor, table, [{column: value}])[0] for column, value in row.items())
    return {column: value for part in parts for column, value in part.items()}
