"""Blocks that end by rollback: nothing that waits for a commit may happen after the past is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def rolled_back_transaction(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Open a transaction, or a savepoint inside one, that is rolled back also if the block succeeds."""
    with without_new_hooks(connection), transaction.atomic(using=connection.alias):
        yield
        transaction.set_rollback(True, using=connection.alias)


@contextmanager
def rolled_back_savepoint(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Roll back at the end, which also restores settings; nothing can have been written."""
    needs_rollback = connection.needs_rollback
    savepoint: Any = connection.savepoint()
    try:
        with without_new_hooks(connection):
            yield
    finally:
        if connection.connection is not None and not connection.closed_in_transaction:
            connection.needs_rollback = False
            connection.savepoint_rollback(savepoint)
            connection.savepoint_commit(savepoint)
            connection.needs_rollback = needs_rollback


@contextmanager
def without_new_hooks(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Forget what the block has registered with ``transaction.on_commit``; it would run in the present."""
    # A hook is a tuple that a rollback makes anew, but not the set of its savepoints.
    before = [hook[0] for hook in connection.run_on_commit]
    known = set(map(id, before))
    try:
        yield
    finally:
        connection.run_on_commit = [hook for hook in connection.run_on_commit if id(hook[0]) in known]
