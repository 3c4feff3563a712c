"""``bemi install``: what Django's migrations do, without Django's migrations."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.management.base import BaseCommand
from django.db import DatabaseError, ProgrammingError, connections, transaction

from bemi_django import conf
from bemi_django.events.operator_context import record_command, record_sync
from bemi_django.exceptions import sqlstate_of
from bemi_django.schema import sql, tracking

#: An object of the same name is there: a schema, a table, a function or another object. Or two sessions
#: alter the same, or each waits for the other one.
_IS_THERE = ("23505", "42P06", "42P07", "42710", "42723", "40P01", "XX000")

_COMMAND = "bemi install"
_HAS_PARTS = "SELECT pg_catalog.to_regclass('_bemi.parts') IS NOT NULL"
_NEEDED = "SELECT p.name FROM _bemi.parts p WHERE 'bemi' OPERATOR(pg_catalog.=) ANY (p.installers)"


def install(command: BaseCommand, source: str, reason: str | None) -> None:
    """Create what is missing in the source and the database of the log, and track the tables.

    Args:
        command: The command, for its output.
        source: Alias of the source.
        reason: Why, for the log, if there is one already.
    """
    added: dict[str, None] = {}
    for alias, parts in _parts(source):
        needed = _needed(alias)
        added.update((part, None) for part in parts if part not in needed)
        statement = sql.install("bemi", *parts, log=conf.table())
        try:
            _execute(alias, statement)
        except DatabaseError as error:
            if sqlstate_of(error) not in _IS_THERE:
                raise
            # Another session has installed them meanwhile.
            _execute(alias, statement)
    if added:
        record_command("installed", {"parts": list(added)}, _COMMAND, {}, source, reason)
    outcome = tracking.sync(source, report=command.stdout.write)
    record_sync(outcome.done, _COMMAND, source, reason)
    for line in outcome.failed:
        command.stderr.write(f"not done: {line}")
    command.stdout.write("installed; recording begins with 'bemi run'")


def _needed(alias: str) -> set[str]:
    """Return the parts of a database that are there, and that an installation by the command needs."""
    try:
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute(_HAS_PARTS)
            if not cursor.fetchone()[0]:
                return set()
            cursor.execute(_NEEDED)
            return {name for (name,) in cursor.fetchall()}
    except ProgrammingError:
        # A right is missing. The installation says which.
        return set()


def _execute(alias: str, statement: str) -> None:
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(statement)


def _parts(source: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    log = conf.destination()
    if log == source:
        yield source, (*sql.SOURCE, *sql.LOG[1:], *sql.PAST)
    else:
        yield source, sql.SOURCE
        yield log, sql.LOG
