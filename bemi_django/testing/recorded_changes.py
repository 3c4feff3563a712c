"""The changes that a test commits, read through the write-ahead log."""

from __future__ import annotations

import re
import time
from hashlib import sha256
from types import TracebackType
from typing import Any

from django.db import DatabaseError, connections

from bemi_django import conf
from bemi_django.exceptions import NotInTransaction, sqlstate_of
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.log.change import ChangeQuerySet
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.models import Change
from bemi_django.schema import tracking
from bemi_django.schema.database_names import database_name

_DROP = (
    "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots "
    "WHERE slot_name OPERATOR(pg_catalog.=) %s::pg_catalog.name"
)
_IN_USE = "55006"
_FORGET = (
    "DELETE FROM _bemi.checkpoint WHERE slot OPERATOR(pg_catalog.=) %s::pg_catalog.text",
    "DELETE FROM _bemi.histories WHERE slot OPERATOR(pg_catalog.=) %s::pg_catalog.text",
    "DELETE FROM _bemi.lanes WHERE slot OPERATOR(pg_catalog.=) %s::pg_catalog.text",
)
#: Seconds for which a slot may still be in use when nobody reads it any more.
_LAST_LOOK = 30.0
#: A name of PostgreSQL has at most 63 bytes.
_LONGEST = 63


class RecordedChanges:
    """Records what is committed while a block runs.

    Rows that are rolled back are never in the log, so the test has to commit: use ``TransactionTestCase``, or
    ``django_db(transaction=True)`` with pytest. Each block has a replication slot of its own, which is
    dropped at its end.

    Args:
        using: Alias of the database whose changes are recorded.

    Raises:
        NotInTransaction: A transaction is open.
        ReplicationError: The server cannot stream; the role needs REPLICATION, the server ``wal_level =
            logical``.
    """

    def __init__(self, using: str = "default") -> None:
        self._using = using
        self._config = worker_config(using, _slot_of(using))._replace(failover=False)
        self._last: Any = None

    def __enter__(self) -> RecordedChanges:
        """Track the tables and begin to record."""
        self._require_no_transaction()
        tracking.sync(self._using)
        self._record()
        self._last = self._log().desc().values_list("pk", flat=True).first()
        return self

    def changes(self) -> ChangeQuerySet:
        """Record what has been committed so far, and return all changes since the beginning, oldest first."""
        self._require_no_transaction()
        self._record()
        changes = self._log().asc()
        return changes if self._last is None else changes.filter(pk__gt=self._last)

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drop the slot: it would keep the test's database from being dropped, and WAL from being removed."""
        with connections[self._using].cursor() as cursor:
            _drop(cursor, self._config.slot)
        with connections[conf.destination()].cursor() as cursor:
            for statement in _FORGET:
                cursor.execute(statement, [self._config.slot])

    def _record(self) -> None:
        Supervisor(self._config, Timeouts(idle=0.05)).run(until_current=True)

    def _log(self) -> ChangeQuerySet:
        # Without gaps, and without what others record of other databases meanwhile.
        log = Change.objects.using(conf.destination()).filter(database=database_name(self._using))
        return log.exclude(table="")

    def _require_no_transaction(self) -> None:
        if connections[self._using].in_atomic_block:
            raise NotInTransaction(
                "only committed changes are recorded: use TransactionTestCase or, with pytest, "
                "django_db(transaction=True); captured_writes() needs no commit"
            )


def _slot_of(using: str) -> str:
    """Return a name that no other database of the server's has: tests run side by side."""
    name = str(connections[using].settings_dict["NAME"])
    readable = re.sub("[^a-z0-9_]", "_", name.lower())
    return f"bemi_test_{readable}"[: _LONGEST - 9] + "_" + sha256(name.encode()).hexdigest()[:8]


def _drop(cursor: Any, name: str) -> None:
    deadline = time.monotonic() + _LAST_LOOK
    while True:
        try:
            cursor.execute(_DROP, [name])
            return
        except DatabaseError as error:
            # The server may not have noticed yet that the worker is gone.
            if sqlstate_of(error) != _IN_USE or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
