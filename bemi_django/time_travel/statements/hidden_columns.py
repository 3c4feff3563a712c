"""Find statements that choose or sort rows of the past by values that the log does not have."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from bemi_django.time_travel.statements.sql_tokens import Kind, Token, tokens_of

_ENDS_LIST = frozenset(
    ("from", "into", "where", "group", "having", "order", "union", "limit", "offset", "fetch")
)
_SORTS = frozenset(("group", "order"))


@dataclass
class _Level:
    """What is known of a statement between two parentheses."""

    is_list: bool = False
    is_sorting: bool = False
    item: int = 1
    #: The numbers of the items of its list that are hidden columns.
    hidden: set[int] = field(default_factory=set)


def misused(
    sql: str,
    hidden: dict[str, Collection[str]],
    tables: Collection[str],
    *,
    standard_strings: bool = True,
    is_template: bool = False,
) -> str | None:
    """Return a hidden column that a statement uses other than by reading it, as ``table.column``.

    Args:
        sql: The statement.
        hidden: The columns whose values are not known, by the name of their table.
        tables: The names of all tables of the past.
        standard_strings: The setting ``standard_conforming_strings``.
        is_template: See :func:`tokens_of`.
    """
    columns = {column for names in hidden.values() for column in names}
    tokens = [
        token
        for token in tokens_of(sql, standard_strings=standard_strings, is_template=is_template)
        if token.kind is not Kind.BLANK
    ]
    mentioned = {token.name for token in tokens if token.kind is Kind.NAME}
    of_tables = [table for table in hidden if table in mentioned]
    if not of_tables or columns.isdisjoint(mentioned):
        return None
    levels = [_Level()]
    for place, token in enumerate(tokens):
        text = sql[token.start : token.end]
        level = levels[-1]
        if text == "(":
            levels.append(_Level())
        elif text == ")":
            if len(levels) > 1:
                levels.pop()
        elif text == ",":
            level.item += 1
        elif (
            token.kind is Kind.NAME
            and token.name in columns
            and not _is_name_of_other(tokens, place, hidden, tables)
        ):
            if not level.is_list:
                return _named(token.name, hidden)
            level.hidden.add(level.item)
        elif token.kind is Kind.NAME and not text.startswith('"'):
            _enter(level, token.name)
        elif level.is_sorting and text.isdigit() and int(text) in level.hidden:
            return f"column {text}"
    return None


def _enter(level: _Level, word: str) -> None:
    if word == "select":
        level.is_list, level.is_sorting, level.item, level.hidden = True, False, 1, set()
    elif word in _ENDS_LIST:
        level.is_list = False
        level.is_sorting = word in _SORTS


def _is_name_of_other(
    tokens: list[Token], place: int, hidden: dict[str, Collection[str]], tables: Collection[str]
) -> bool:
    """Return whether a name is one of another table's column, or of an alias or a table."""
    if place + 1 < len(tokens) and tokens[place + 1].kind is Kind.DOT:
        return True
    before = tokens[place - 1] if place else None
    if before is None:
        return True
    if before.kind is Kind.NAME and before.name == "as":
        return True
    if before.kind is not Kind.DOT:
        return False
    qualifier = tokens[place - 2].name
    return qualifier in tables and tokens[place].name not in hidden.get(qualifier, ())


def _named(column: str, hidden: dict[str, Collection[str]]) -> str:
    return next(f"{table}.{column}" for table, columns in hidden.items() if column in columns)


def by_table(hidden: dict[str, list[str]]) -> dict[str, Collection[str]]:
    """Return columns by the name of their table, from those by ``schema.table``."""
    found: dict[str, Collection[str]] = {}
    for name, columns in hidden.items():
        table = name.rpartition(".")[2]
        found[table] = {*found.get(table, ()), *columns}
    return found
