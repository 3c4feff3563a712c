"""Name the schema of tables that are shown as they are now, where a statement reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bemi_django.schema.sql import quote
from bemi_django.time_travel.statements.sql_tokens import Kind, Token, tokens_of

_BEGINS_TABLES = frozenset(("from", "join"))
_BEFORE_TABLE = frozenset(("only", "lateral"))
_ENDS_TABLES = frozenset(
    (
        "except",
        "fetch",
        "for",
        "group",
        "having",
        "intersect",
        "limit",
        "offset",
        "order",
        "select",
        "union",
        "where",
        "window",
    )
)


@dataclass
class _Clause:
    """What is known between two parentheses: whether tables are listed, and one comes next."""

    lists_tables: bool = False
    is_before_table: bool = False


def qualified(
    sql: str, schemas: Mapping[str, str], *, standard_strings: bool = True, is_template: bool = False
) -> str:
    """Return a statement in which the tables that it reads have their schemas.

    Args:
        sql: The statement.
        schemas: The schema of each table. Other tables, and names with a schema, stay as they are.
        standard_strings: The setting ``standard_conforming_strings``.
        is_template: See :func:`tokens_of`.
    """
    lowered = (sql.replace("%%", "%") if is_template else sql).lower()
    if 'u&"' not in lowered and not any(name.replace('"', '""').lower() in lowered for name in schemas):
        return sql
    parts: list[str] = []
    end = 0
    tokens = tokens_of(sql, standard_strings=standard_strings, is_template=is_template)
    for table in _tables(sql, [token for token in tokens if token.kind is not Kind.BLANK]):
        if table.name in schemas:
            schema = quote(schemas[table.name])
            parts += [sql[end : table.start], schema.replace("%", "%%") if is_template else schema, "."]
            end = table.start
    return "".join([*parts, sql[end:]])


def _tables(sql: str, tokens: list[Token]) -> Iterator[Token]:
    """Yield the names, without a schema, of tables and functions in the FROM clauses of a statement."""
    clauses = [_Clause()]
    for place, token in enumerate(tokens):
        text = sql[token.start : token.end]
        clause = clauses[-1]
        word = token.name if token.kind is Kind.NAME and not text.startswith('"') else ""
        if text == "(":
            clauses.append(_Clause(clause.is_before_table, clause.is_before_table))
            clause.is_before_table = False
        elif text == ")":
            if len(clauses) > 1:
                clauses.pop()
        elif text == ",":
            clause.is_before_table = clause.lists_tables
        elif word in _BEGINS_TABLES:
            clause.lists_tables = clause.is_before_table = True
        elif word in _ENDS_TABLES:
            clause.lists_tables = clause.is_before_table = False
        elif clause.is_before_table and word not in _BEFORE_TABLE:
            clause.is_before_table = False
            follows = tokens[place + 1 : place + 2]
            if token.kind is Kind.NAME and (not follows or follows[0].kind is not Kind.DOT):
                yield token
