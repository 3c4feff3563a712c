"""Attach the context to the writes of SQLAlchemy engines.

The context is a comment on the statement. With a driver that prepares statements, each new comment would
need a new prepared statement, so there the context is a setting of the transaction: it is sent before the
first write and whenever it changes.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import event
from sqlalchemy.util import await_only

from bemi_django.capture import comment, context, context_encoding
from bemi_django.capture.functions import guards, waiter
from bemi_django.capture.hooks import sqlalchemy_savepoints
from bemi_django.capture.hooks.sqlalchemy_savepoints import SENT, Savepoints, before_query
from bemi_django.capture.layers import Context
from bemi_django.capture.statement import first_words, is_write
from bemi_django.wire import CONTEXT_SETTING

logger = logging.getLogger(__name__)

_EVENT = "before_cursor_execute"
_EMPTY = "{}"
#: First words of statements that end a transaction, or take back what was set in it.
_ENDING = frozenset(("ABORT", "COMMIT", "END", "PREPARE", "RESET", "ROLLBACK"))


def install(engine: Any) -> None:
    """Attach the context to every write of an engine, unless this was requested already.

    Args:
        engine: An Engine or AsyncEngine. Nothing happens if it is not for PostgreSQL.
    """
    engine = getattr(engine, "sync_engine", engine)
    if engine.dialect.name == "postgresql" and not event.contains(engine, _EVENT, _annotate):
        event.listen(engine, _EVENT, _annotate, retval=True)
        sqlalchemy_savepoints.install(engine)
    if Savepoints not in guards:
        guards.append(Savepoints)


def uninstall(engine: Any) -> None:
    """Undo :func:`install`.

    Args:
        engine: An Engine or AsyncEngine, hooked or not.
    """
    engine = getattr(engine, "sync_engine", engine)
    if event.contains(engine, _EVENT, _annotate):
        event.remove(engine, _EVENT, _annotate)
        sqlalchemy_savepoints.uninstall(engine)


def context_on(connection: Any) -> Context:
    """Return the present context, whose functions may wait for awaitables on an asynchronous engine."""
    if not connection.dialect.is_async:
        return context.current()
    # Statements of an asynchronous engine run where SQLAlchemy itself waits for the driver.
    token = waiter.set(await_only)
    try:
        return context.current()
    finally:
        waiter.reset(token)


def _annotate(
    connection: Any, cursor: Any, statement: str, parameters: Any, execution: Any, executemany: bool
) -> tuple[str, Any]:
    before_query(connection)
    try:
        if is_write(statement):
            # A driver cannot prepare several statements at once, and one of them may end the transaction.
            if ";" not in statement and _prepares_statements(connection):
                if _send(connection) == _EMPTY:
                    # The same text each time, so the driver prepares it once.
                    statement = comment.NO_CONTEXT + statement
            else:
                if ";" in statement:
                    _distrust(connection)
                statement = comment.context_comment(statement, context_on(connection)) + statement
        elif statement[:6].upper() != "SELECT" and any(word in _ENDING for word, _ in first_words(statement)):
            _distrust(connection)
    except Exception:
        logger.warning("adding the context to a statement failed; it is sent without context", exc_info=True)
    # Outside the try block, so that the statement runs once and its exception reaches the caller.
    return statement, parameters


def _prepares_statements(connection: Any) -> bool:
    driver = connection.dialect.driver
    if driver not in ("asyncpg", "psycopg", "psycopg_async"):
        return False
    opened = connection.connection
    # Without a transaction, the setting would be gone before the write.
    if opened.dbapi_connection.autocommit or connection.get_transaction() is None:
        return False
    return driver == "asyncpg" or opened.driver_connection.prepare_threshold is not None


def _send(connection: Any) -> str:
    """Make the context that of the transaction, unless it is already, and return its JSON."""
    present = context_on(connection)
    value = context_encoding.context_json(present)
    # Rolling back a savepoint undoes a setting made inside it.
    where = connection.get_transaction(), connection.get_nested_transaction()
    sent_where, sent = connection.info.get(SENT, (None, None))
    # A new transaction has no context yet.
    if sent_where is None or sent_where[0] is not where[0]:
        sent_where, sent = where, _EMPTY
    if (sent_where, sent) != (where, value):
        # A task may be cancelled while it waits for the server, which has the context or has not.
        connection.info[SENT] = where, None
        _execute(connection, comment.context_setting(present))
    connection.info[SENT] = where, value
    return value


def _distrust(connection: Any) -> None:
    """Let the context be sent again: a statement may have undone that, and SQLAlchemy does not know."""
    if SENT in connection.info:
        connection.info[SENT] = connection.info[SENT][0], None


def _execute(connection: Any, value: str) -> None:
    placeholder = "$1" if connection.dialect.paramstyle == "numeric_dollar" else "%s"
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f"SELECT pg_catalog.set_config('{CONTEXT_SETTING}', {placeholder}, true)", (value,))
    finally:
        cursor.close()
