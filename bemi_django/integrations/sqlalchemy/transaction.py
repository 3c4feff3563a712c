"""The part of Django's transaction that belongs to a SQLAlchemy session."""

from __future__ import annotations

import logging
from typing import Any

from django.db import Error, transaction

logger = logging.getLogger(__name__)


class Joined:
    """What happens between a session's begin and its commit or rollback, on Django's connection.

    In a block of ``atomic()`` this is a savepoint; outside, it is a block of its own.
    """

    def __init__(self, connection: Any) -> None:
        connection.validate_thread_sharing()
        self._connection = connection
        self._driver = connection.connection
        self._own: Any = None
        self._savepoint: str | None = None
        if connection.in_atomic_block:
            connection.validate_no_broken_transaction()
            self._savepoint = connection.savepoint()
        else:
            self._own = transaction.atomic(connection.alias)
            self._own.__enter__()
        self._blocks = list(connection.atomic_blocks)
        self._savepoints = list(connection.savepoint_ids)

    @property
    def has_ended(self) -> bool:
        """Whether Django has ended the surrounding block, and with it the session's part."""
        connection = self._connection
        return (
            connection.connection is not self._driver
            or connection.atomic_blocks[: len(self._blocks)] != self._blocks
            or connection.savepoint_ids[: len(self._savepoints)] != self._savepoints
        )

    def check(self) -> None:
        """Raise Django's error if Django would refuse a statement.

        Raises:
            DatabaseError: If the connection belongs to another thread.
            TransactionManagementError: If the transaction is broken.
        """
        self._connection.validate_thread_sharing()
        self._connection.validate_no_broken_transaction()

    def mark_broken(self) -> None:
        """Tell Django that a statement failed, so that it refuses to continue the block."""
        self._connection.errors_occurred = True
        if self._connection.in_atomic_block and not self.has_ended:
            self._connection.needs_rollback = True

    def mark_restored(self) -> None:
        """Tell Django that the failed statement was rolled back to a savepoint."""
        self._connection.needs_rollback = False

    def commit(self) -> None:
        """End the session's part and leave its fate to Django's transaction.

        Raises:
            TransactionManagementError: If the transaction is broken; the session's part is rolled back.
        """
        if self.has_ended:
            return
        try:
            self.check()
        except transaction.TransactionManagementError:
            self.rollback()
            raise
        if self._own:
            self._leave()
        elif not self._inner_savepoints:
            self._connection.savepoint_commit(self._savepoint)

    def rollback(self) -> None:
        """Undo what was done since the session began, and nothing before that."""
        if self.has_ended:
            return
        if self._own:
            self._connection.needs_rollback = True
            self._leave()
        else:
            self._rollback_to_savepoint()

    def abandon(self) -> None:
        """End the part of a session that was never closed and was garbage-collected."""
        if self.has_ended:
            return
        logger.warning("a session of SQLAlchemy was not closed: use it in a with statement")
        # In a block of Django's the writes stay: a rollback would undo more than the session wrote.
        if self._own:
            self.rollback()

    @property
    def _inner_savepoints(self) -> list[str | None]:
        return list(self._connection.savepoint_ids[len(self._savepoints) :])

    def _leave(self) -> None:
        connection = self._connection
        if connection.atomic_blocks[-1] is self._own:
            try:
                self._own.__exit__(None, None, None)
            except Error as error:
                # SQLAlchemy translates the driver's errors, not Django's.
                raise (error.__cause__ or error) from None
        else:
            # Django has opened a block inside ours: that one becomes the outermost and decides.
            connection.atomic_blocks.remove(self._own)
            connection.savepoint_ids.pop(0)

    def _rollback_to_savepoint(self) -> None:
        connection, inner = self._connection, self._inner_savepoints
        connection.needs_rollback = False
        connection.savepoint_rollback(self._savepoint)
        connection.savepoint_commit(self._savepoint)
        for savepoint in filter(None, inner):
            # Blocks that Django has opened since continue, now empty.
            connection._savepoint(savepoint)
