"""Patterns of tables and columns, as settings have them: ``*`` and ``?`` are wildcards, a dot ends a name.

``shop_visit.*``, ``*.last_login`` and ``public.auth_user.last_login`` are patterns of columns;
``public.auth_*`` and ``shop_visit`` are patterns of tables. Without a schema, a pattern applies to all
schemas. In a name that contains a dot, ``?`` stands for the dot.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

_WILDCARDS = ("*", "?")


class ColumnPattern(NamedTuple):
    """A pattern of columns, in three parts."""

    schema: str
    table: str
    column: str

    def matches(self, schema: str, table: str, column: str) -> bool:
        """Return whether the pattern applies to a column of a table."""
        return self.matches_table(schema, table) and matches(self.column, column)

    def matches_table(self, schema: str, table: str) -> bool:
        """Return whether the pattern can apply to columns of a table."""
        return matches(self.schema, schema) and matches(self.table, table)

    @property
    def names_one_column(self) -> bool:
        """Whether the part for the column has no wildcard."""
        return not has_wildcards(self.column)


class TablePattern(NamedTuple):
    """A pattern of tables, in two parts."""

    schema: str
    table: str

    def matches(self, schema: str, table: str) -> bool:
        """Return whether the pattern applies to a table."""
        return matches(self.schema, schema) and matches(self.table, table)


def column_pattern(text: object) -> ColumnPattern:
    """Return a pattern of columns from ``table.column`` or ``schema.table.column``.

    Raises:
        ValueError: It has another form.
    """
    schema, table, column = _parts(text, 3, "table.column or schema.table.column")
    return ColumnPattern(schema, table, column)


def table_pattern(text: object) -> TablePattern:
    """Return a pattern of tables from ``table`` or ``schema.table``.

    Raises:
        ValueError: It has another form.
    """
    schema, table = _parts(text, 2, "table or schema.table")
    return TablePattern(schema, table)


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern applies to a name, letter case included."""
    # Only there, brackets are special.
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def literal(name: str) -> str:
    """Return a pattern for a name; it may match others if the name has characters that are wildcards."""
    return name.replace("*", "?")


def as_like(pattern: str) -> str:
    """Return a pattern of LIKE that matches the same names."""
    escaped = pattern.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
    return escaped.replace("*", "%").replace("?", "_")


def has_wildcards(pattern: str) -> bool:
    """Return whether a pattern may apply to several names."""
    return any(wildcard in pattern for wildcard in _WILDCARDS)


def _parts(text: object, most: int, form: str) -> list[str]:
    parts = text.split(".") if isinstance(text, str) else []
    if not most - 1 <= len(parts) <= most or not all(parts):
        raise ValueError(f"it must be {form}, with * and ? as wildcards")
    return parts if len(parts) == most else ["*", *parts]
