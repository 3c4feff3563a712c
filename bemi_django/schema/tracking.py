"""Bring triggers, replica identity and publication of the tracked tables in line with the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from django.db import DatabaseError, connections, transaction

from bemi_django import conf
from bemi_django.exceptions import sqlstate_of
from bemi_django.mask_columns import remember_masked
from bemi_django.schema import ignored, installed
from bemi_django.schema.locking import briefly
from bemi_django.schema.log_settings.sync import sync_log
from bemi_django.schema.outcome import Outcome
from bemi_django.schema.replication import chosen_tables, publication
from bemi_django.schema.search_path import closed_cursor

_PLAN = "SELECT relation, name, what, statement FROM _bemi.plan_v1(%s, %s, %s, %s::pg_catalog.oid[])"
_TABLES = """
SELECT coalesce(pg_catalog.array_agg(c.oid), '{}')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s::pg_catalog.name AND c.relkind IN ('r', 'p')
"""
_REMEMBER = """
INSERT INTO _bemi.tracking AS t (publication, include, exclude) VALUES (%s, %s, %s)
ON CONFLICT (singleton) DO UPDATE
SET publication = excluded.publication, include = excluded.include, exclude = excluded.exclude
WHERE (t.publication, t.include, t.exclude)
    IS DISTINCT FROM (excluded.publication, excluded.include, excluded.exclude)
"""
_FOLLOWING = "SELECT pg_catalog.set_config('_bemi.is_following', %s, true)"
_REFRESH = "SELECT pg_catalog.count(*) FROM _bemi.past_refresh_v1(%s::pg_catalog.oid[], %s)"
# How many views of the past to make in a transaction, which holds locks on all of them.
_VIEWS = 500
_INSUFFICIENT_PRIVILEGE = "42501"
_OF_ANOTHER = "; run 'manage.py bemi sync' as the owner of the table, or leave it out with BEMI_EXCLUDE"
# What a statement says that another session has executed meanwhile: the object is there or gone, the row of
# the catalog has changed, or both have waited for each other.
_FORESTALLED = ("23505", "40P01", "42704", "42710", "42P01", "XX000")


class TrackingStep(NamedTuple):
    """What a table lacks, or has and should not have, and the statement that changes it.

    An empty statement means that the table cannot be tracked; ``what`` says why.
    """

    relation: int
    name: str
    what: str
    statement: str

    def __str__(self) -> str:
        return f"{self.what}: {self.name}"


def plan(using: str = "default", schema: str | None = None) -> list[TrackingStep]:
    """Return what ``sync`` would do to tables, in order.

    Args:
        using: The alias of the database.
        schema: The schema whose tables are meant; by default all tables.

    Returns:
        The steps, with those of a table next to each other.

    Raises:
        NotInstalled: ``migrate`` was not run.
    """
    with connections[using].cursor() as cursor:
        return _plan(using, _targets(cursor, schema))


def _plan(using: str, targets: list[int] | None) -> list[TrackingStep]:
    with connections[using].cursor() as cursor:
        cursor.execute(_PLAN, [conf.publication(), *chosen_tables.patterns(using), targets])
        return [TrackingStep(*row) for row in cursor.fetchall()]


def _targets(cursor: Any, schema: str | None) -> list[int] | None:
    if schema is None:
        return None
    cursor.execute(_TABLES, [schema])
    found: list[int] = cursor.fetchone()[0]
    return found


def sync(
    using: str = "default",
    *,
    dry_run: bool = False,
    lock_timeout: float = 2.0,
    attempts: int = 5,
    report: Callable[[str], object] = lambda line: None,
) -> Outcome:
    """Bring a database and the log in line with the settings, one table per transaction.

    Args:
        using: The alias of the database. Nothing happens unless it is PostgreSQL.
        dry_run: Only say what would be done.
        lock_timeout: Seconds to wait for the lock on a table.
        attempts: How often to try a table that is locked longer.
        report: Called with each line as soon as it is done.

    Returns:
        What was done and what failed.

    Raises:
        NotInstalled: ``migrate`` was not run.
    """
    if connections[using].vendor != "postgresql":
        return Outcome([], [])
    source = sync_source(using, dry_run=dry_run, lock_timeout=lock_timeout, attempts=attempts, report=report)
    log = sync_log(conf.destination(), dry_run=dry_run, report=report)
    return Outcome(source.done + log.done, source.failed + log.failed)


def sync_source(
    using: str,
    *,
    schema: str | None = None,
    dry_run: bool = False,
    lock_timeout: float = 2.0,
    attempts: int = 5,
    report: Callable[[str], object] = lambda line: None,
) -> Outcome:
    """Bring a database in line with the settings and leave the log alone, one table per transaction.

    Args:
        using: The alias of the database, which is PostgreSQL.
        schema: The schema whose tables are meant; by default all tables.
        dry_run: Only say what would be done.
        lock_timeout: Seconds to wait for the lock on a table.
        attempts: How often to try a table that is locked longer.
        report: Called with each line as soon as it is done.

    Returns:
        What was done and what failed.

    Raises:
        NotInstalled: ``migrate`` was not run.
    """
    outcome = Outcome([], [])

    def done(line: str) -> None:
        outcome.done.append(line)
        report(line)

    for line in _sync_database(using, dry_run):
        done(line)
    possible = [step for step in plan(using, schema) if step.statement]
    for (name, relation), steps in groupby(possible, key=lambda step: (step.name, step.relation)):
        batch = list(steps)
        try:
            if not dry_run:
                batch = _complete(using, relation, batch, lock_timeout, attempts)
        except DatabaseError as error:
            remedy = _OF_ANOTHER if sqlstate_of(error) == _INSUFFICIENT_PRIVILEGE else ""
            outcome.failed.append(f"{name}: {str(error).strip().splitlines()[0]}{remedy}")
            continue
        for step in batch:
            done(str(step))
    for line in ignored.sync(using, dry_run):
        done(line)
    if not dry_run and (failure := _refresh_past(using, schema)):
        outcome.failed.append(failure)
    return outcome


def _refresh_past(using: str, schema: str | None) -> str | None:
    """Bring the views of the past in line if the log is in this database; return why that failed."""
    try:
        with closed_cursor(using) as cursor:
            if installed.has(cursor, "past_refresh_v1"):
                remember_masked(cursor)
        while _refresh_some(using, schema) >= _VIEWS:
            pass
    except DatabaseError as error:
        # Recording does not need them, and as_of() says what is missing.
        if sqlstate_of(error) != _INSUFFICIENT_PRIVILEGE:
            return f"as_of(): {str(error).strip().splitlines()[0]}"
    return None


def _refresh_some(using: str, schema: str | None) -> int:
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        if not installed.has(cursor, "past_refresh_v1"):
            return 0
        cursor.execute(_REFRESH, [_targets(cursor, schema), _VIEWS])
        return int(cursor.fetchone()[0])


def _sync_database(using: str, dry_run: bool) -> Iterator[str]:
    with connections[using].cursor() as cursor:
        installed.require(cursor, "plan_v1")
    yield from publication.sync(using, dry_run)
    with connections[using].cursor() as cursor:
        if not dry_run:
            cursor.execute(_REMEMBER, [conf.publication(), *chosen_tables.patterns(using)])
        cursor.execute("SELECT name FROM _bemi.event_triggers_v1(%s) name", [dry_run])
        made = cursor.fetchall()
    for (name,) in made:
        yield f"event trigger: {name}"


def _complete(
    using: str, relation: int, steps: list[TrackingStep], lock_timeout: float, attempts: int
) -> list[TrackingStep]:
    """Do the steps of a table, or what another session has left of them, and return these."""
    try:
        _apply(using, steps, lock_timeout, attempts)
    except DatabaseError as error:
        if sqlstate_of(error) not in _FORESTALLED:
            raise
        left = [step for step in _plan(using, [relation]) if step.statement]
        if left:
            _apply(using, left, lock_timeout, attempts)
        return left
    return steps


def _apply(using: str, steps: list[TrackingStep], lock_timeout: float, attempts: int) -> None:
    def work(cursor: Any) -> None:
        # The event triggers would do the same again, and to parents and children of the table. But they
        # describe a table that gets triggers.
        what = {step.what for step in steps}
        cursor.execute(_FOLLOWING, ["" if "triggers" in what and "described" not in what else "yes"])
        for step in steps:
            cursor.execute(step.statement)

    briefly(using, work, lock_timeout=lock_timeout, attempts=attempts)
