"""An installation that is taken back, so that a database can be examined before it has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, transaction

from bemi_django import conf
from bemi_django.schema import installed, sql


@contextmanager
def installed_for_now(source: str) -> Iterator[bool]:
    """Install what a source needs in a transaction that is rolled back, unless it is installed.

    No table of the application is locked or changed.

    Args:
        source: Alias of the source.

    Yields:
        Whether it was installed before.

    Raises:
        DatabaseError: The role may not install it.
    """
    with connections[source].cursor() as cursor:
        is_there = installed.has(cursor, "plan_v1")
    if is_there:
        yield True
        return
    with transaction.atomic(using=source):
        with connections[source].cursor() as cursor:
            cursor.execute(sql.install("bemi", *sql.SOURCE, log=conf.table()))
        try:
            yield False
        finally:
            transaction.set_rollback(True, using=source)


def creatable_event_triggers(source: str) -> int:
    """Return how many of the two event triggers the role may create, or does not have to."""
    with connections[source].cursor() as cursor:
        cursor.execute("SELECT pg_catalog.count(*) FROM _bemi.event_triggers_v1(true)")
        return int(cursor.fetchone()[0])
