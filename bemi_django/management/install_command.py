"""``bemi install``: what Django's migrations do, without Django's migrations."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.management.base import BaseCommand
from django.db import connections, transaction

from bemi_django import conf
from bemi_django.schema import sql, tracking


def install(command: BaseCommand, source: str) -> None:
    """Create what is missing in the source and the database of the log, and track the tables.

    Args:
        command: The command, for its output.
        source: Alias of the source.
    """
    for alias, parts in _parts(source):
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute(sql.install("bemi", *parts, log=conf.table()))
    for line in tracking.sync(source, report=command.stdout.write).failed:
        command.stderr.write(f"not done: {line}")
    command.stdout.write("installed; recording begins with 'bemi run'")


def _parts(source: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    log = conf.destination()
    if log == source:
        yield source, (*sql.SOURCE, *sql.LOG[1:], *sql.PAST)
    else:
        yield source, sql.SOURCE
        yield log, sql.LOG
