"""Insert rows of the log into a new table, and compare what it has with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
from psycopg2.sql import SQL, Composable, Identifier, Literal

from bemi_django.restoration.new_table import NewTable

#: Rows that are inserted at once, and their bytes.
_ROWS = 500
_BYTES = 16 * 1024 * 1024
#: Keys that are named.
NAMED = 5
# By the server: it reads numbers of any size.
_COLUMNS = """
SELECT DISTINCT name FROM unnest(%s::jsonb[]) image CROSS JOIN LATERAL jsonb_object_keys(image) name
"""


@dataclass
class Filled:
    """What became of the rows.

    Attributes:
        rows: The number of rows.
        different: The number of those whose values in the table are not those of the log.
        incomplete: By column, the keys of rows whose value the log does not know; only some of them.
        incomplete_rows: The number of such rows.
        unlike: Columns whose values differ.
        left_out: Columns of the log that the table does not have.
    """

    rows: int = 0
    different: int = 0
    incomplete: dict[str, list[str]] = field(default_factory=dict)
    incomplete_rows: int = 0
    unlike: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)


def fill(cursor: Any, table: NewTable, rows: Iterable[tuple[str, str, str]]) -> Filled:
    """Insert rows and compare them.

    Args:
        cursor: A cursor of the source, in a transaction, with the settings under which rows are printed.
        table: The new table.
        rows: The key, the row and the columns that are not known of each, the last two as JSON.
    """
    filled = Filled()
    left = iter(rows)
    while batch := list(_batch(left)):
        images = [image for _, image, _ in batch]
        cursor.execute(_insert(table, images))
        filled.rows += len(batch)
        cursor.execute(_COLUMNS, [images])
        filled.left_out |= {column for (column,) in cursor.fetchall()} - table.columns.keys()
        for key, _, unknown in batch:
            if columns := orjson.loads(unknown):
                filled.incomplete_rows += 1
                for column in columns:
                    keys = filled.incomplete.setdefault(column, [])
                    keys += [key] if len(keys) < NAMED else []
        cursor.execute(_compare(table, images))
        for (columns,) in cursor.fetchall():
            filled.different += 1
            filled.unlike |= set(columns)
    return filled


def _batch(rows: Any) -> Iterable[tuple[str, str, str]]:
    size = 0
    for row in islice(rows, _ROWS):
        size += len(row[1])
        yield row
        if size >= _BYTES:
            return


def _insert(table: NewTable, images: list[str]) -> Composable:
    columns = SQL(", ").join(map(Identifier, table.columns))
    return SQL(
        "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} "
        "FROM unnest({images}::jsonb[]) WITH ORDINALITY given (image, number) "
        "CROSS JOIN LATERAL {made} made ORDER BY given.number"
    ).format(
        table=table.quoted,
        made=_made(table),
        images=Literal(images),
        columns=columns,
        values=SQL(", ").join(SQL("made.{}").format(Identifier(column)) for column in table.columns),
    )


def _made(table: NewTable) -> Composable:
    """Return a query for the row of an image."""
    columns = (
        SQL("coalesce(read.{0}, 'null') AS {0}" if column in table.documents else "read.{0}").format(
            Identifier(column)
        )
        for column in table.columns
    )
    return SQL("(SELECT {} FROM jsonb_populate_record(NULL::{}, given.image) read)").format(
        SQL(", ").join(columns), table.quoted
    )


def _compare(table: NewTable, images: list[str]) -> Composable:
    """Return a query for the columns that differ, of each row with any."""
    return SQL(
        "SELECT unlike.columns FROM unnest({images}::jsonb[]) given (image) "
        "CROSS JOIN LATERAL {made} made "
        "LEFT JOIN {table} found ON {same} "
        "CROSS JOIN LATERAL (SELECT ARRAY(SELECT name FROM (VALUES {values}) v (name, value) "
        "WHERE given.image ? name AND value IS DISTINCT FROM (given.image -> name)) AS columns) unlike "
        "WHERE unlike.columns <> '{{}}'"
    ).format(
        table=table.quoted,
        made=_made(table),
        images=Literal(images),
        same=SQL(" AND ").join(
            SQL("found.{0} {1} made.{0}").format(Identifier(column), SQL(equals))
            for column, equals in table.key.items()
        ),
        values=SQL(", ").join(_value(column, kind) for column, kind in table.columns.items()),
    )


# A cast to json, which to_jsonb() would call, is code of the owner of the type.
_VALUES = {
    "plain": "coalesce(to_jsonb(found.{column}), 'null')",
    "printed": "CASE WHEN found.{column} IS NULL THEN 'null' ELSE to_jsonb(format('%s', found.{column})) END",
    "array": (
        "CASE WHEN found.{column} IS NULL THEN 'null' ELSE to_jsonb(format('%s', found.{column})::text[]) END"
    ),
    "text": "CASE WHEN found.{column} IS NOT DISTINCT FROM made.{column} THEN given.image -> {name} END",
}


def _value(column: str, kind: str) -> Composable:
    value = SQL(_VALUES[kind]).format(column=Identifier(column), name=Literal(column))
    return SQL("({}, {})").format(Literal(column), value)
