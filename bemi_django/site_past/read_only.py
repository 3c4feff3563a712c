"""Databases that a request of the past can only read, whatever it sends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections

from bemi_django.capture.statement import first_words, is_write
from bemi_django.exceptions import PastIsReadOnly
from bemi_django.patterns import possessive
from bemi_django.time_travel.rollback import rolled_back_transaction, without_new_hooks

# In PostgreSQL, the server refuses to write in the transaction of the request, until a statement ends it.
_ENDS = frozenset(("ABORT", "BEGIN", "COMMIT", "END", "START"))
# Elsewhere, only what is known to read is sent: one statement, which writes to no table, file or variable.
_OPENING = possessive.compiled(r"[\s(]*+")
_QUERY = possessive.compiled(
    r"(?:SELECT|VALUES|WITH|SAVEPOINT|RELEASE|ROLLBACK\s+TO|BEGIN)\b(?!.*\bINTO\b)[^;]*+(?:;\s*+)?\Z",
    re.IGNORECASE | re.DOTALL,
)


@contextmanager
def read_only(alias: str) -> Iterator[None]:
    """Refuse, inside the block, whatever writes to a database.

    In PostgreSQL the block is a read-only transaction that ends by rollback, so no function can write either,
    nor can the driver, unless it ends the transaction itself. For other databases, the statements that
    Django sends are compared with those that read; what is sent by the driver alone is not seen.
    """
    connection = connections[alias]
    with ExitStack() as stack:
        stack.enter_context(without_new_hooks(connection))
        try:
            connection.ensure_connection()
        except (Error, ImproperlyConfigured):
            # Pages that do not need it are shown all the same.
            stack.enter_context(connection.execute_wrapper(_refuse_unless_query))
        else:
            if connection.vendor == "postgresql":
                stack.enter_context(_read_only_transaction(alias))
                stack.enter_context(lasting(alias))
            else:
                stack.enter_context(connection.execute_wrapper(_refuse_unless_query))
        yield


@contextmanager
def lasting(alias: str) -> Iterator[None]:
    """Refuse statements that end the read-only transaction in which a connection to PostgreSQL is."""
    with connections[alias].execute_wrapper(_refuse_end):
        yield


@contextmanager
def _read_only_transaction(alias: str) -> Iterator[None]:
    with rolled_back_transaction(connections[alias]):
        with connections[alias].cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            # After the first query, a transaction cannot be made one that writes.
            cursor.execute("SELECT 1")
        yield


def _refuse_end(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, execution: dict[str, Any]
) -> Any:
    if any(map(_ends_transaction, first_words(_text(sql, execution)))):
        raise PastIsReadOnly
    return execute(sql, params, many, execution)


def _ends_transaction(words: tuple[str, str]) -> bool:
    first, second = words
    if first == "ROLLBACK":
        return second != "TO"
    return first in _ENDS or (first, second) == ("PREPARE", "TRANSACTION")


def is_query(sql: str) -> bool:
    """Return whether a statement is known to read only, in whatever database."""
    return not is_write(sql) and _QUERY.match(sql, _beginning(sql)) is not None


def _beginning(sql: str) -> int:
    """Return where a statement begins, behind blanks and comments but those that MySQL or MariaDB runs."""
    at = 0
    while True:
        opening = _OPENING.match(sql, at)
        at = opening.end() if opening else at
        end = sql.find("*/", at + 2)
        if not sql.startswith("/*", at) or sql.startswith(("/*!", "/*M!"), at) or end < 0:
            return at
        at = end + 2


def _refuse_unless_query(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, execution: dict[str, Any]
) -> Any:
    if not is_query(str(sql)):
        raise PastIsReadOnly
    return execute(sql, params, many, execution)


def _text(sql: Any, execution: dict[str, Any]) -> str:
    """Return the text of a statement, which can be one that the driver composes."""
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    if hasattr(sql, "as_string"):
        cursor = execution["cursor"]
        return str(sql.as_string(getattr(cursor, "cursor", cursor)))
    return str(sql)
