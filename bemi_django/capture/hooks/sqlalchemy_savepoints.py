"""Keep the failed queries of a context function out of the transactions of its caller's engines."""

from __future__ import annotations

from contextvars import ContextVar, Token
from itertools import count
from typing import Any

from sqlalchemy import event

#: Key of ``Connection.info``: the transaction and the context that was last sent to it.
SENT = "bemi_context"

_NAME = "_bemi_context"
_BEGUN = "bemi_begun"
_BEGIN_EVENTS = ("begin", "begin_twophase")
# Numbers transactions and blocks in the order in which they begin.
_order = count(1)
_block: ContextVar[Savepoints | None] = ContextVar("bemi_savepoints", default=None)


class Savepoints:
    """Block whose queries cannot break the transactions that were open when it began.

    In each of them, a savepoint is made before the first query of the block. If a query failed, the
    transaction returns to it. A block without queries costs no statement.
    """

    def __init__(self) -> None:
        self._sent: dict[Any, Any] = {}

    def __enter__(self) -> None:
        self._number = next(_order)
        self._token: Token[Savepoints | None] = _block.set(self)

    def __exit__(self, *error: object) -> None:
        _block.reset(self._token)
        for connection, sent in self._sent.items():
            _leave(connection, sent)

    def protect(self, connection: Any) -> None:
        """Make a savepoint, unless there is one or the transaction began inside the block.

        Args:
            connection: The Connection that is about to execute a query of the block.
        """
        if connection in self._sent or connection.get_transaction() is None:
            return
        begun = connection.info.get(_BEGUN, 0)
        if begun < self._number and not connection.connection.dbapi_connection.autocommit:
            _run(connection, f"SAVEPOINT {_NAME}")
            self._sent[connection] = connection.info.get(SENT)


def before_query(connection: Any) -> None:
    """Protect the transaction of a connection if a context function is running.

    Args:
        connection: The Connection that is about to execute a query.
    """
    block = _block.get()
    if block is not None:
        block.protect(connection)


def install(engine: Any) -> None:
    """Record in which order the transactions of an engine begin.

    Args:
        engine: An Engine.
    """
    for name in _BEGIN_EVENTS:
        event.listen(engine, name, _on_begin)


def uninstall(engine: Any) -> None:
    """Undo :func:`install`.

    Args:
        engine: An Engine that has been installed on.
    """
    for name in _BEGIN_EVENTS:
        event.remove(engine, name, _on_begin)


def _on_begin(connection: Any, *_: Any) -> None:
    connection.info[_BEGUN] = next(_order)


def _leave(connection: Any, sent: Any) -> None:
    try:
        _run(connection, f"RELEASE SAVEPOINT {_NAME}")
    except connection.dialect.dbapi.Error:
        # A query failed, and with it everything until the rollback.
        _run(connection, f"ROLLBACK TO SAVEPOINT {_NAME}")
        _run(connection, f"RELEASE SAVEPOINT {_NAME}")
        # A context that was sent since then is forgotten with the rest.
        connection.info[SENT] = sent or (None, None)


def _run(connection: Any, statement: str) -> None:
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()
