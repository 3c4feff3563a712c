"""Rows as they are now: by key, and those that refer to or stand in the way of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bemi_django.exact import dumps
from bemi_django.revert.net import Row
from bemi_django.revert.tables import Name, Table, escaped, quoted
from bemi_django.session import rows_of

# One look-up in an index for each row that is asked for.
_FIND = """
SELECT wanted.number, found.row
FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY wanted (value, number)
CROSS JOIN LATERAL jsonb_populate_record(NULL::{source}, wanted.value) r
CROSS JOIN LATERAL (SELECT {row} AS row FROM {target} t WHERE {condition} {limit}) found
ORDER BY wanted.number
"""


def find_rows(cursor: Any, table: Table, keys: Sequence[Row], *, lock: bool) -> dict[int, Row]:
    """The rows of a table that have these keys, by the number of the key; locked if wanted."""
    cursor.execute(
        _FIND.format(
            source=quoted(table.name),
            target=quoted(table.name),
            row="to_jsonb(t)::text",
            condition=_equal(table.key, table.key),
            limit="FOR UPDATE OF t" if lock else "",
        ),
        [_array(keys)],
    )
    return {number - 1: row for number, row in rows_of(cursor)}


def find_keys(
    cursor: Any,
    rows: Sequence[Row],
    source: Name,
    columns: Sequence[str],
    target: Name,
    target_columns: Sequence[str],
    key: Sequence[str],
    limit: int = 1,
) -> list[tuple[int, Row]]:
    """Rows of ``target`` that have, in its columns, what the given rows of ``source`` have in theirs.

    Returns the number of the given row and the columns ``key`` of the found one, ``limit`` for each.
    """
    pairs = ", ".join(f"%s::text, t.{escaped(column)}" for column in key)
    cursor.execute(
        _FIND.format(
            source=quoted(source),
            target=quoted(target),
            row=f"jsonb_build_object({pairs})::text",
            condition=_equal(target_columns, columns),
            limit="LIMIT %s",
        ),
        # In the order in which the statement has them.
        [_array(rows), *key, limit],
    )
    return [(number - 1, row) for number, row in rows_of(cursor)]


def _equal(target: Sequence[str], source: Sequence[str]) -> str:
    pairs = zip(target, source, strict=True)
    return " AND ".join(f"t.{escaped(one)} = r.{escaped(other)}" for one, other in pairs)


def _array(rows: Sequence[Row]) -> str:
    return dumps(list(rows))
