# ruff: noqa: S608 - identifiers and values are quoted, and nobody runs it here
"""SQL to read, and SQL that does a change once more."""

from __future__ import annotations

from typing import Any

import sqlparse

from bemi_django.log.lossless_json import dumps
from bemi_django.schema.sql import quote

#: Beyond it a statement is shown as it is: laying it out would keep the page waiting.
LONGEST = 20_000


def format_sql(statement: str) -> str:
    """A statement over several lines."""
    if len(statement) > LONGEST:
        return statement
    return str(sqlparse.format(statement, reindent=True, keyword_case="upper")).strip()


def replay_sql(
    operation: str, schema: str, table: str, before: dict[str, Any], after: dict[str, Any]
) -> str | None:
    """A statement that does to a row what the change did; None for operations of no row.

    ``jsonb_populate_record`` is the inverse of ``to_jsonb``, whatever the types are.
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
    return f"to_jsonb(t) = {_literal(row)}"


def _literal(row: dict[str, Any]) -> str:
    text = dumps(row)
    # Read alike whatever standard_conforming_strings is.
    prefix, text = ("E", text.replace("\\", "\\\\")) if "\\" in text else ("", text)
    return f"{prefix}'{text.replace(chr(39), chr(39) * 2)}'"
