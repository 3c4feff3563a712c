"""SQL that leaves the next rows of a table, in the order of its key, for the worker."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2.sql import SQL, Composable, Identifier, Literal

from bemi_django.baseline.read_table import ReadTable, SortedColumn

_RANGE = SQL("""
WITH found AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY {order}) AS number, {key} AS key, ARRAY[{place}]::text[] AS place,
           ARRAY[{columns}]::bytea[] AS columns, CASE WHEN {condition}
               THEN true END AS is_wanted
    FROM (
        SELECT _bemi_row.* FROM ONLY {table} _bemi_row WHERE {after} ORDER BY {order} LIMIT {rows} {lock}
    ) _bemi_row
),
sized AS (
    SELECT *, sum((SELECT sum(length(value)) FROM unnest(columns) value)) OVER (ORDER BY number) AS size
    FROM found
),
kept AS (SELECT * FROM sized WHERE number = 1 OR size <= {size}),
left_for_worker AS (
    INSERT INTO _bemi.baseline_rows (number, key, place, columns)
    SELECT number, key, place, columns FROM kept WHERE is_wanted RETURNING number
)
SELECT count(*), (SELECT count(*) FROM left_for_worker),
       (SELECT last.place FROM kept last ORDER BY last.number DESC LIMIT 1),
       (SELECT count(*) FROM found) < {rows} AND (SELECT count(*) FROM found) = count(*)
FROM kept
""")
# As above: a condition of groups, or of columns of the server, is refused by both.
_NO_ROWS = SQL("""
SELECT _bemi_row, CASE WHEN {condition}
    THEN true END FROM (SELECT _bemi_row.* FROM ONLY {table} _bemi_row LIMIT 0) _bemi_row LIMIT 0
""")
_NEXT = SQL(
    "SELECT ARRAY[{place}]::text[] FROM ONLY {table} _bemi_row WHERE {after} ORDER BY {order} LIMIT 1"
)


def leave_range(
    table: ReadTable,
    after: Sequence[str] | None,
    condition: str,
    rows: int,
    size: int,
    encoding: str,
    *,
    is_locking: bool = False,
) -> Composable:
    """Return a statement for (rows read, rows left for the worker, place of the last one, are there no more).

    Args:
        table: The table.
        after: The place of the last row before, a text for each column of the key; None at the beginning.
        condition: A condition on the rows, as SQL; empty for all.
        rows: How many rows to read at most, whether they fulfil the condition or not.
        size: How many bytes of values to read at most; one row is read whatever its size.
        encoding: What to encode texts in.
        is_locking: Whether nobody may change the rows before the end of the transaction.
    """
    return _RANGE.format(
        order=_order(table),
        key=_key(table),
        place=_place(table),
        columns=SQL(", ").join(_encoded(name, encoding) for name, _ in table.columns),
        condition=SQL(condition or "true"),
        table=Identifier(table.schema, table.name),
        after=_after(table.key, after),
        rows=Literal(rows),
        lock=SQL("FOR SHARE" if is_locking else ""),
        size=Literal(size),
    )


def trial(table: ReadTable, condition: str) -> Composable:
    """Return a query that reads no row, and fails if the server does not understand a condition."""
    return _NO_ROWS.format(condition=SQL(condition), table=Identifier(table.schema, table.name))


def next_place(table: ReadTable, after: Sequence[str] | None) -> Composable:
    """Return a query for the place of the next row."""
    return _NEXT.format(
        place=_place(table),
        table=Identifier(table.schema, table.name),
        after=_after(table.key, after),
        order=_order(table),
    )


def _order(table: ReadTable) -> Composable:
    return SQL(", ").join(SQL("_bemi_row.{}").format(Identifier(column.name)) for column in table.key)


def _place(table: ReadTable) -> Composable:
    return SQL(", ").join(_text(column.name) for column in table.key)


def _key(table: ReadTable) -> Composable:
    """Return the key as the log prints it."""
    if len(table.key) == 1:
        return _text(table.key[0].name)
    parts = SQL(", ', ', ").join(SQL("to_jsonb({})::text").format(_scalar(column)) for column in table.key)
    return SQL("concat('[', {}, ']')").format(parts)


def _scalar(column: SortedColumn) -> Composable:
    # A cast to json, which to_jsonb() would call, is code of the owner of the type.
    if column.is_defined:
        return _text(column.name)
    return SQL("_bemi_row.{}::{}").format(Identifier(column.name), SQL(column.type))


def _text(column: str) -> Composable:
    # format() prints as the stream does, which a cast to text does not for every type.
    return SQL("format('%s', _bemi_row.{})").format(Identifier(column))


def _encoded(column: str, encoding: str) -> Composable:
    # num_nulls() because IS NULL is true of a row of NULLs, too.
    return SQL("CASE WHEN num_nulls(_bemi_row.{}) = 0 THEN convert_to({}, {}) END").format(
        Identifier(column), _text(column), Literal(encoding)
    )


def _after(key: Sequence[SortedColumn], place: Sequence[str] | None) -> Composable:
    """Return the condition that a row comes after a place."""
    if place is None:
        return SQL("true")
    values = [
        SQL("{}::{}").format(Literal(text), SQL(column.type)) for column, text in zip(key, place, strict=True)
    ]
    names = [SQL("_bemi_row.{}").format(Identifier(column.name)) for column in key]
    if all(column.exceeds == "OPERATOR(pg_catalog.>)" for column in key):
        # The form that finds the place by the index.
        return SQL("ROW({}) OPERATOR(pg_catalog.>) ROW({})").format(
            SQL(", ").join(names), SQL(", ").join(values)
        )
    cases = []
    for number, column in enumerate(key):
        same = [SQL("{} {} {}").format(names[n], SQL(key[n].equals), values[n]) for n in range(number)]
        exceeds = SQL("{} {} {}").format(names[number], SQL(column.exceeds), values[number])
        cases.append(SQL(" AND ").join([*same, exceeds]))
    return SQL("(({}))").format(SQL(") OR (").join(cases))
