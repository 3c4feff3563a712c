"""Keep the failed queries of a context function out of the transactions of its caller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from weakref import ref

from django.db.backends.base.base import BaseDatabaseWrapper

# PQTRANS_INERROR of libpq; both drivers report its number.
_ABORTED = 3

# The connections of each thread. To look through those of Django takes longer than most context functions.
_thread = threading.local()


def remember(connection: BaseDatabaseWrapper) -> None:
    """Note that a connection was opened in this thread.

    Args:
        connection: A connection of Django's.
    """
    others = [other for other in _opened() if other() not in (None, connection)]
    _thread.opened = [*others, ref(connection)]


def _opened() -> list[ref[BaseDatabaseWrapper]]:
    return getattr(_thread, "opened", [])


class DjangoSavepoints:
    """Block whose queries cannot break the transactions that are open when it begins.

    In each of them, a savepoint is made before the first query of the block. If a query failed, the
    transaction returns to it. A block without queries costs no statement.
    """

    __slots__ = ("_blocks",)

    def __enter__(self) -> None:
        self._blocks: ExitStack | None = None
        for opened in _opened():
            connection = opened()
            if connection is not None and connection.in_atomic_block:
                self._blocks = self._blocks or ExitStack()
                self._blocks.enter_context(_Protected(connection))

    def __exit__(self, *error: object) -> None:
        if self._blocks is not None:
            self._blocks.close()


class _Protected:
    """A connection in a transaction, and its savepoint once there is one."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._was_broken = connection.needs_rollback
        self._has_queries = False
        self._savepoint: str | None = None

    def __enter__(self) -> None:
        self._connection.execute_wrappers.append(self._before_query)

    def __exit__(self, *error: object) -> None:
        self._connection.execute_wrappers.remove(self._before_query)
        if self._was_broken or not self._connection.in_atomic_block:
            return
        # Django marks a transaction as broken when a block without a savepoint of its own fails.
        is_broken, self._connection.needs_rollback = self._connection.needs_rollback, False
        if self._savepoint is None:
            return
        if is_broken or self._is_aborted():
            self._connection.savepoint_rollback(self._savepoint)
        self._connection.savepoint_commit(self._savepoint)

    def _before_query(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        if not self._has_queries:
            # Set first, since the savepoint is a query too.
            self._has_queries = True
            self._savepoint = self._connection.savepoint()
        return execute(*arguments)

    def _is_aborted(self) -> bool:
        info = getattr(self._connection.connection, "info", None)
        return getattr(info, "transaction_status", None) == _ABORTED
