"""Rows as they are now: by key, and those that refer to or stand in the way of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bemi_django.log.live_tables import (
    ADDRESS,
    LiveTable,
    Name,
    Partial,
    RowValues,
    escaped,
    key_object,
    quoted,
)
from bemi_django.log.lossless_json import dumps
from bemi_django.log.row_session import rows_of

# One look-up in an index for each row that is asked for.
_FIND = """
SELECT wanted.number, found.row
FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY wanted (value, number)
CROSS JOIN LATERAL jsonb_populate_record(NULL::{source}, wanted.value) r
CROSS JOIN LATERAL (SELECT {row} AS row FROM {target} t WHERE {condition} {limit}) found
ORDER BY wanted.number
"""


# One pass over a table without a key.
_LIKE = """
SELECT wanted.number, (to_jsonb(t) || {address})::text
FROM {target} t
JOIN jsonb_array_elements(%s::jsonb) WITH ORDINALITY wanted (value, number) ON to_jsonb(t) = wanted.value
ORDER BY wanted.number, t.tableoid, t.ctid {lock}
"""


def find_rows(
    cursor: Any, table: LiveTable, keys: Sequence[RowValues], *, lock: bool
) -> dict[int, RowValues]:
    """The rows of a table that have these keys, by the number of the key; locked if wanted.

    Where the table has no key, a key is a whole row, and the found one tells in ADDRESS where it lies.
    """
    locking = "FOR UPDATE OF t" if lock else ""
    if not table.has_key:
        return _find_alike(cursor, table, keys, locking)
    cursor.execute(
        _FIND.format(
            source=quoted(table.name),
            target=quoted(table.name),
            row="to_jsonb(t)::text",
            condition=_equal(table.key, table.key),
            limit=locking,
        ),
        [dumps(list(keys))],
    )
    return {number - 1: row for number, row in rows_of(cursor)}


def _find_alike(
    cursor: Any, table: LiveTable, rows: Sequence[RowValues], locking: str
) -> dict[int, RowValues]:
    statement = _LIKE.format(address=key_object(ADDRESS), target=quoted(table.name), lock=locking)
    cursor.execute(statement, [*ADDRESS, dumps(list(rows))])
    found: dict[int, RowValues] = {}
    taken: set[tuple[str, ...]] = set()
    for number, row in rows_of(cursor):
        # Of rows that are alike each is another one's.
        address = tuple(row[name] for name in ADDRESS)
        if number - 1 not in found and address not in taken:
            found[number - 1] = row
            taken.add(address)
    return found


# A column without an alias is one of the innermost table's.
_FIND_PARTIAL = """
SELECT wanted.number, found.row
FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY wanted (value, number)
CROSS JOIN LATERAL (
    SELECT {values} FROM jsonb_populate_record(NULL::{table}, wanted.value) WHERE {predicate}) r
CROSS JOIN LATERAL (SELECT {row} AS row FROM {table} t WHERE ({predicate}) AND {condition} LIMIT 1) found
ORDER BY wanted.number
"""


def find_partial(
    cursor: Any, table: LiveTable, partial: Partial, rows: Sequence[RowValues]
) -> list[tuple[int, RowValues]]:
    """The keys of rows with which given ones would clash in a unique index of some rows or of expressions."""
    expressions = [expression.replace("%", "%%") for expression in partial.expressions]
    statement = _FIND_PARTIAL.format(
        values=", ".join(f"({expression}) AS _bemi_{place}" for place, expression in enumerate(expressions)),
        table=quoted(table.name),
        predicate=partial.predicate.replace("%", "%%"),
        row=f"{key_object(table.key)}::text",
        condition=" AND ".join(
            f"({expression}) = r._bemi_{place}" for place, expression in enumerate(expressions)
        ),
    )
    cursor.execute(statement, [dumps([table.readable(row) for row in rows]), *table.key])
    return [(number - 1, row) for number, row in rows_of(cursor)]


def find_keys(
    cursor: Any,
    rows: Sequence[RowValues],
    source: Name,
    columns: Sequence[str],
    target: Name,
    target_columns: Sequence[str],
    key: Sequence[str],
    limit: int = 1,
) -> list[tuple[int, RowValues]]:
    """Rows of ``target`` that have, in its columns, what the given rows of ``source`` have in theirs.

    Returns the number of the given row and the columns ``key`` of the found one, ``limit`` for each.
    """
    cursor.execute(
        _FIND.format(
            source=quoted(source),
            target=quoted(target),
            row=f"{key_object(key)}::text",
            condition=_equal(target_columns, columns),
            limit="LIMIT %s",
        ),
        # In the order in which the statement has them.
        [dumps(list(rows)), *key, limit],
    )
    return [(number - 1, row) for number, row in rows_of(cursor)]


def _equal(target: Sequence[str], source: Sequence[str]) -> str:
    pairs = zip(target, source, strict=True)
    return " AND ".join(f"t.{escaped(one)} = r.{escaped(other)}" for one, other in pairs)
