"""Redirect tables that a statement names together with their schema; search_path covers the others."""

from __future__ import annotations

import re
from collections.abc import Collection

_INERT = r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"
_PART = r'"(?:[^"]|"")+"|[^\W\d][\w$]*'
_QUALIFIED = re.compile(
    rf'{_INERT}|(?<![\w".$])(?P<schema>{_PART})(?P<dot>\s*\.\s*)(?P<table>{_PART})', re.DOTALL
)


class Redirection:
    """Replaces schemas by the schemas of the past, in names of the given (schema, table) pairs."""

    def __init__(self, tables: Collection[tuple[str, str]]) -> None:
        self._tables = tables
        self._written = {schema.replace('"', '""').lower() for schema, _ in tables}

    def of(self, sql: str) -> str:
        """Return the statement with the schemas of the past instead of the present ones."""
        lowered = sql.lower()
        if not any(schema in lowered for schema in self._written):
            return sql
        return _QUALIFIED.sub(self._replace, sql)

    def _replace(self, match: re.Match[str]) -> str:
        if match["schema"] is None:
            return match[0]
        schema = _name(match["schema"])
        if (schema, _name(match["table"])) not in self._tables:
            return match[0]
        past = f"_bemi_past_{schema}".encode()[:63].decode(errors="ignore").replace('"', '""')
        return f'"{past}"{match["dot"]}{match["table"]}'


def _name(written: str) -> str:
    return written[1:-1].replace('""', '"') if written.startswith('"') else written.lower()
