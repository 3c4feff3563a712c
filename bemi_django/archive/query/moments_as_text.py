"""Queries of DuckDB whose moments are texts.

Python's dates and times have no infinity, no years before 1 and after 9999 and no 24:00, so DuckDB returns
other values in their place: ``infinity`` as 9999-12-31.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb

_MOMENTS = ("date", "interval", "time")
_NO_ROWS = "SELECT * FROM (\n{}\n) LIMIT 0"
_TEXTS = "SELECT {} FROM (\n{}\n)"


def with_moments_as_text(connection: Any, query: str) -> str:
    """Return a query with the same rows, in which dates, times and intervals are text.

    Args:
        connection: The connection to DuckDB.
        query: One SELECT, or what DuckDB takes for one.
    """
    query = _without_end(query)
    try:
        found = connection.sql(_NO_ROWS.format(query))
    except duckdb.ParserException:
        # It is wrong, which its own execution says better, or cannot be a subquery, as EXPLAIN.
        return query
    types = [_as_text(kind) for kind in found.types]
    if not any(types):
        return query
    columns = (
        f"#{number}" if type_ is None else f"CAST(#{number} AS {type_}) AS {_quoted(name)}"
        for number, (name, type_) in enumerate(zip(found.columns, types, strict=True), 1)
    )
    return _TEXTS.format(", ".join(columns), query)


def _without_end(query: str) -> str:
    text = query.encode()
    end = len(text)
    for place, kind in reversed(duckdb.tokenize(query)):
        if kind == duckdb.token_type.comment:
            continue
        if text[place : place + 1] != b";":
            break
        end = place
    return text[:end].decode()


def _as_text(kind: Any) -> str | None:
    """Return the type with text in place of moments, or None if it has none."""
    if kind.id.startswith(_MOMENTS):
        return "VARCHAR"
    if kind.id not in ("array", "list", "map", "struct", "tuple", "union"):
        return None
    # The last child of an array is its length.
    parts = kind.children[:1] if kind.id == "array" else kind.children
    texts = [_as_text(part) for _, part in parts]
    if not any(texts):
        return None
    types = [text or str(part) for text, (_, part) in zip(texts, parts, strict=True)]
    if kind.id == "struct" and all(name for name, _ in parts):
        # What has no names is printed as a whole.
        return f"STRUCT({_fields((name for name, _ in parts), types)})"
    if kind.id == "map":
        return f"MAP({', '.join(types)})"
    return f"{types[0]}[]" if kind.id in ("array", "list") else "VARCHAR"


def _fields(names: Iterable[str], types: Iterable[str]) -> str:
    return ", ".join(f"{_quoted(name)} {type_}" for name, type_ in zip(names, types, strict=True))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
