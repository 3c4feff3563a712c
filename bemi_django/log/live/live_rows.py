"""Read live rows: by key, by reference, and by the unique values that they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bemi_django.log.live.equality import Equality, all_equal
from bemi_django.log.live.live_tables import (
    ADDRESS,
    LiveTable,
    Name,
    Partial,
    RowValues,
    escaped,
    key_object,
    quoted,
    read_catalog,
    record,
)
from bemi_django.log.live.row_session import rows_of
from bemi_django.log.lossless_json import dumps
from bemi_django.schema import search_path

# LATERAL makes it one index look-up for each wanted row.
_FIND = """
SELECT wanted.number, found.row
FROM pg_catalog.jsonb_array_elements(%s::pg_catalog.jsonb) WITH ORDINALITY wanted (value, number)
CROSS JOIN LATERAL {given}
CROSS JOIN LATERAL (SELECT {row} AS row FROM {target} t WHERE {condition} {limit}) found
ORDER BY wanted.number
"""


# A table without a key: one pass compares whole rows.
_LIKE = """
SELECT wanted.number, (pg_catalog.to_jsonb(t.*) OPERATOR(pg_catalog.||) {address})::pg_catalog.text
FROM {target} t
JOIN pg_catalog.jsonb_array_elements(%s::pg_catalog.jsonb) WITH ORDINALITY wanted (value, number)
    ON pg_catalog.to_jsonb(t.*) OPERATOR(pg_catalog.=) wanted.value
ORDER BY wanted.number, t.tableoid, t.ctid {lock}
"""


def find_rows(
    cursor: Any, table: LiveTable, keys: Sequence[RowValues], *, lock: bool
) -> dict[int, RowValues]:
    """Return the rows with these keys, by the index of the key.

    Args:
        cursor: A cursor of :func:`row_session`.
        table: The table.
        keys: Primary keys, ``{column: value}``; whole rows for a table without a key. The rows found there
            also have the columns ``ADDRESS``, which tell where they are stored.
        lock: Whether to lock the rows (``FOR UPDATE``).
    """
    locking = "FOR UPDATE OF t" if lock else ""
    if table.primary is None:
        return _find_alike(cursor, table, keys, locking)
    cursor.execute(
        _FIND.format(
            given=record(table, "wanted.value", "r"),
            target=quoted(table.name),
            row="pg_catalog.to_jsonb(t.*)::pg_catalog.text",
            condition=equal(table.primary.equalities, "t", table.key, "r", table.key),
            limit=locking,
        ),
        [dumps([table.readable(key) for key in keys])],
    )
    return {number - 1: row for number, row in rows_of(cursor)}


# A view, or columns that are not the key in the database.
_LIKE_KEY = """
SELECT pg_catalog.to_jsonb(t.*)::pg_catalog.text FROM {target} t
WHERE {key} OPERATOR(pg_catalog.=) %s::pg_catalog.jsonb LIMIT 1
"""


def find_row(cursor: Any, name: Name, key: RowValues) -> RowValues | None:
    """Return the row of a table or view with these values, or None.

    Args:
        cursor: A cursor of :func:`row_session`.
        name: The table or view.
        key: Values as in the log, ``{column: value}``.
    """
    table = read_catalog(cursor, dumps([name])).tables.get(name)
    if table is not None and set(table.key) == set(key):
        return find_rows(cursor, table, [key], lock=False).get(0)
    statement = _LIKE_KEY.format(target=quoted(name), key=key_object(key))
    cursor.execute(statement, [*key, dumps(key)])
    return next((row for (row,) in rows_of(cursor)), None)


def _find_alike(
    cursor: Any, table: LiveTable, rows: Sequence[RowValues], locking: str
) -> dict[int, RowValues]:
    statement = _LIKE.format(address=key_object(ADDRESS), target=quoted(table.name), lock=locking)
    cursor.execute(statement, [*ADDRESS, dumps(list(rows))])
    found: dict[int, RowValues] = {}
    taken: set[tuple[str, ...]] = set()
    for number, row in rows_of(cursor):
        # Equal rows are interchangeable, but each can be used only once.
        address = tuple(row[name] for name in ADDRESS)
        if number - 1 not in found and address not in taken:
            found[number - 1] = row
            taken.add(address)
    return found


# The expressions name columns without an alias; they resolve to the innermost FROM.
_FIND_PARTIAL = """
SELECT wanted.number, found.row
FROM pg_catalog.jsonb_array_elements(%s::pg_catalog.jsonb) WITH ORDINALITY wanted (value, number)
CROSS JOIN LATERAL (
    SELECT {values} FROM {given} WHERE {predicate}) r
CROSS JOIN LATERAL (SELECT {row} AS row FROM {table} t WHERE ({predicate}) AND {condition} LIMIT 1) found
ORDER BY wanted.number
"""


def find_partial(
    cursor: Any, table: LiveTable, partial: Partial, rows: Sequence[RowValues]
) -> list[tuple[int, RowValues]]:
    """Return the keys of rows that conflict with the given ones in a partial or expression index.

    Returns:
        Pairs of the index of the given row and the found row's key columns.
    """
    expressions = [expression.replace("%", "%%") for expression in partial.expressions]
    statement = _FIND_PARTIAL.format(
        values=", ".join(
            f"({expression}) AS _bemi_{number}" for number, expression in enumerate(expressions)
        ),
        table=quoted(table.name),
        given=record(table, "wanted.value", "_bemi_given"),
        predicate=partial.predicate.replace("%", "%%"),
        row=f"{key_object(table.key)}::pg_catalog.text",
        condition=all_equal(
            partial.equalities,
            (f"({expression})" for expression in expressions),
            (f"r._bemi_{number}" for number in range(len(expressions))),
        ),
    )
    # The catalog printed the expressions for this path.
    with search_path.closed(cursor):
        cursor.execute(statement, [dumps([table.readable(row) for row in rows]), *table.key])
        found = rows_of(cursor)
    return [(number - 1, row) for number, row in found]


def find_keys(
    cursor: Any,
    rows: Sequence[RowValues],
    source: LiveTable,
    columns: Sequence[str],
    target: Name,
    target_columns: Sequence[str],
    equalities: Sequence[Equality],
    key: Sequence[str],
    limit: int | None = 1,
    *,
    lock: bool = False,
) -> list[tuple[int, RowValues]]:
    """Return rows of ``target`` whose ``target_columns`` equal the ``columns`` of the given rows.

    Args:
        cursor: A cursor of :func:`row_session`.
        rows: Rows of the table ``source``.
        source: The table whose types the given values have.
        columns: Columns of the given rows.
        target: The table to search.
        target_columns: The columns to compare, in the order of ``columns``.
        equalities: Compare a column of ``target`` with the given one.
        key: The columns of ``target`` to return.
        limit: Maximum number of rows found for each given row; None for all.
        lock: Whether to lock the found rows (``FOR UPDATE``).

    Returns:
        Pairs of the index of the given row and the found row's key columns.
    """
    cursor.execute(
        _FIND.format(
            given=record(source, "wanted.value", "r"),
            target=quoted(target),
            row=f"{key_object(key)}::pg_catalog.text",
            condition=equal(equalities, "t", target_columns, "r", columns),
            limit="LIMIT %s FOR UPDATE OF t" if lock else "LIMIT %s",
        ),
        [dumps(list(rows)), *key, limit],
    )
    return [(number - 1, row) for number, row in rows_of(cursor)]


def equal(
    equalities: Sequence[Equality], one: str, columns: Sequence[str], other: str, others: Sequence[str]
) -> str:
    """Return the condition that columns of an alias equal those of another one."""
    return all_equal(
        equalities,
        (f"{one}.{escaped(column)}" for column in columns),
        (f"{other}.{escaped(column)}" for column in others),
    )
