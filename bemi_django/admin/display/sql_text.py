# ruff: noqa: S608 - identifiers and values are quoted, and the SQL is not run here
"""Format SQL for reading, and write SQL that repeats a change."""

from __future__ import annotations

from typing import Any

import sqlparse

from bemi_django.log.lossless_json import dumps
from bemi_django.schema.sql import quote

#: Longer statements are shown unformatted, because formatting them delays the page.
LONGEST = 20_000


def format_sql(statement: str) -> str:
    """Return a statement on several lines."""
    if len(statement) > LONGEST:
        return statement
    return str(sqlparse.format(statement, reindent=True, keyword_case="upper")).strip()


class Statements:
    """Formats the statements of a page: equal ones once, and no more than so many characters of all."""

    def __init__(self) -> None:
        self._left = LONGEST
        self._formatted: dict[str, str] = {}

    def format(self, statement: str) -> str:
        """Return a statement on several lines, or as it is if the page has had its share."""
        if statement not in self._formatted:
            if len(statement) > self._left:
                return statement
            self._left -= len(statement)
            self._formatted[statement] = format_sql(statement)
        return self._formatted[statement]


def replay_sql(
    operation: str, schema: str, table: str, before: dict[str, Any], after: dict[str, Any]
) -> str | None:
    """Return a statement that repeats a change.

    Values are read with ``jsonb_populate_record``, the inverse of ``to_jsonb`` for all types.

    Args:
        operation: The operation of the change.
        schema: The schema of the table.
        table: The name of the table.
        before: The row before the change.
        after: The row after the change.

    Returns:
        The statement, or None if the change cannot be repeated or modifies nothing.
    """
    name = f"{quote(schema)}.{quote(table)}"
    if operation == "CREATE":
        columns = ", ".join(map(quote, after))
        return f"INSERT INTO {name} ({columns})\nSELECT {columns}\nFROM {_record(name, after)};"
    if operation == "UPDATE":
        changed = {
            key: value
            for key, value in after.items()
            if key not in before or dumps(before[key]) != dumps(value)
        }
        if not changed:
            return None
        columns = ", ".join(map(quote, changed))
        source = f"SELECT {columns} FROM {_record(name, changed)}"
        return f"UPDATE {name} AS t\nSET ({columns}) = ({source})\nWHERE {_same(before)};"
    if operation == "DELETE":
        return f"DELETE FROM {name} AS t\nWHERE {_same(before)};"
    return f"TRUNCATE {name};" if operation == "TRUNCATE" else None


def _record(name: str, row: dict[str, Any]) -> str:
    return f"jsonb_populate_record(NULL::{name}, {_literal(row)})"


def _same(row: dict[str, Any]) -> str:
    # t.* is the row, whereas t alone may be a column of the table.
    return f"to_jsonb(t.*) = {_literal(row)}"


def _literal(row: dict[str, Any]) -> str:
    text = dumps(row)
    # E'' is read alike whatever standard_conforming_strings is.
    prefix, text = ("E", text.replace("\\", "\\\\")) if "\\" in text else ("", text)
    return f"{prefix}'{text.replace(chr(39), chr(39) * 2)}'"
