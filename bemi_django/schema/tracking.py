"""Bring triggers, replica identity and publication of the tracked tables in line with the settings.

And the indexes of the log that are a matter of choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django import conf
from bemi_django.exceptions import NotInstalled, sqlstate_of
from bemi_django.schema.sql import quote

_HOME = """
SELECT n.nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = %s ORDER BY p.oid LIMIT 1
"""
_EVENT_TRIGGERS = {
    "_bemi_follow_ddl": """
        CREATE EVENT TRIGGER _bemi_follow_ddl ON ddl_command_end
        WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE SCHEMA', 'CREATE CAST',
                     'ALTER TABLE', 'ALTER TYPE', 'ALTER SCHEMA')
        EXECUTE FUNCTION {}._bemi_follow_ddl_v1()
    """,
    # Without tags: what drops a type or a function may drop columns.
    "_bemi_follow_drop": """
        CREATE EVENT TRIGGER _bemi_follow_drop ON sql_drop EXECUTE FUNCTION {}._bemi_follow_ddl_v1()
    """,
}
_REMEMBER = """
INSERT INTO {}._bemi_tracking (publication, include, exclude) VALUES (%s, %s, %s)
ON CONFLICT (singleton) DO UPDATE
SET publication = excluded.publication, include = excluded.include, exclude = excluded.exclude
WHERE (_bemi_tracking.publication, _bemi_tracking.include, _bemi_tracking.exclude)
    IS DISTINCT FROM (excluded.publication, excluded.include, excluded.exclude)
"""
_IS_PUBLISHED = """
SELECT EXISTS (
    SELECT FROM (SELECT to_regclass(%s) AS oid) wanted, pg_publication_rel r, pg_publication p
    WHERE p.oid = r.prpubid AND p.pubname = %s
      AND (r.prrelid = wanted.oid OR r.prrelid IN (SELECT relid FROM pg_partition_tree(wanted.oid)))
)
"""
# The one function that is there wherever the log is.
_OF_THE_LOG = "_bemi_partition_v1"
_LOCK_NOT_AVAILABLE = "55P03"
_INSUFFICIENT_PRIVILEGE = "42501"


class TrackingStep(NamedTuple):
    """One thing that a table lacks, or has and should not, and the statements that change it.

    Without a statement: why the table cannot be tracked.
    """

    relation: int
    name: str
    what: str
    statement: str

    def __str__(self) -> str:
        return f"{self.what}: {self.name}"


class Outcome(NamedTuple):
    """Lines that say what was done, and lines that say what could not be done and why."""

    done: list[str]
    failed: list[str]


def plan(using: str = "default") -> list[TrackingStep]:
    """What ``sync`` would do to tables, in order. Raises NotInstalled before ``migrate``."""
    connection = connections[using]
    schema = quote(home(using))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT relation, name, what, statement FROM {schema}._bemi_plan_v1(%s, %s, %s)",  # noqa: S608 - quoted
            [conf.publication(), like(conf.include()), like(conf.exclude())],
        )
        return [TrackingStep(*row) for row in cursor.fetchall()]


def sync(
    using: str = "default",
    *,
    dry_run: bool = False,
    lock_timeout: float = 2.0,
    attempts: int = 5,
    report: Callable[[str], object] = lambda line: None,
) -> Outcome:
    """Do what is missing, one table per transaction; ``report`` is called with each line as it is done.

    ``lock_timeout`` is in seconds: a table that is locked longer is tried again, ``attempts`` times in
    all, and then left. Raises NotInstalled before ``migrate``; on a database that is not PostgreSQL
    nothing happens.
    """
    connection = connections[using]
    outcome = Outcome([], [])
    if connection.vendor != "postgresql":
        return outcome

    def done(line: str) -> None:
        outcome.done.append(line)
        report(line)

    for line in _sync_database(connection, dry_run):
        done(line)
    possible = [step for step in plan(using) if step.statement]
    for (name, _), steps in groupby(possible, key=lambda step: (step.name, step.relation)):
        batch = list(steps)
        try:
            if not dry_run:
                _apply(using, batch, lock_timeout, attempts)
        except DatabaseError as error:
            outcome.failed.append(f"{name}: {str(error).strip().splitlines()[0]}")
            continue
        for step in batch:
            done(str(step))
    if not dry_run and (failure := _refresh_past(using)):
        outcome.failed.append(failure)
    try:
        for line in _sync_value_indexes(conf.destination(), dry_run):
            done(line)
    except DatabaseError as error:
        outcome.failed.append(f"indexes of the log: {str(error).strip().splitlines()[0]}")
    return outcome


def home(using: str = "default", function: str = "_bemi_plan_v1") -> str:
    """The schema of our objects, found by one of them. Raises NotInstalled before ``migrate``."""
    with connections[using].cursor() as cursor:
        cursor.execute(_HOME, [function])
        found = cursor.fetchone()
    if found is None:
        raise NotInstalled
    return str(found[0])


def has_publication(using: str = "default") -> bool:
    """Tell whether the publication exists."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_publication WHERE pubname = %s", [conf.publication()])
        return bool(cursor.fetchone()[0])


def is_published(table: str, using: str = "default") -> bool:
    """Tell whether the publication has a model's ``db_table``, itself or as partitions."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(_IS_PUBLISHED, [connection.ops.quote_name(table), conf.publication()])
        return bool(cursor.fetchone()[0])


def _refresh_past(using: str) -> str | None:
    """Bring the views of time_travel in line, where the log lives here, too; return why that failed."""
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute(_HOME, ["_bemi_past_refresh_v1"])
            found = cursor.fetchone()
            if found:
                cursor.execute(f"SELECT count(*) FROM {quote(found[0])}._bemi_past_refresh_v1()")  # noqa: S608 - quoted
    except DatabaseError as error:
        # Recording goes on without. as_of() says what is missing.
        if sqlstate_of(error) != _INSUFFICIENT_PRIVILEGE:
            return f"as_of(): {str(error).strip().splitlines()[0]}"
    return None


def _sync_value_indexes(using: str, dry_run: bool) -> Iterator[str]:
    """Where the log lives. The worker waits while one is made, readers do not."""
    connection = connections[using]
    try:
        schema = quote(home(using, _OF_THE_LOG))
    except NotInstalled:
        return
    for side in ("before", "after"):
        name = f"changes_{side}"
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{schema}.{name}"])
            (is_there,) = cursor.fetchone()
        if is_there == conf.index_values():
            continue
        statement = (
            f"DROP INDEX {schema}.{name}"
            if is_there
            else f"CREATE INDEX {name} ON {schema}.changes USING gin ({side} jsonb_path_ops)"
        )
        if not dry_run:
            _execute(connection, statement)
        yield f"{'no index' if is_there else 'index'}: {name}"


def _sync_database(connection: BaseDatabaseWrapper, dry_run: bool) -> Iterator[str]:
    schema = quote(home(connection.alias))
    publication = conf.publication()
    if not has_publication(connection.alias):
        if not dry_run:
            _execute(connection, f"CREATE PUBLICATION {quote(publication)}")
        yield f"publication: {publication}"
    if _leaves_out_generated_columns(connection):
        if not dry_run:
            _execute(
                connection,
                f"ALTER PUBLICATION {quote(publication)} SET (publish_generated_columns = stored)",
            )
        yield f"publication with generated columns: {publication}"
    if not dry_run:
        parameters = [publication, like(conf.include()), like(conf.exclude())]
        _execute(connection, _REMEMBER.format(schema), parameters)
    for name in _missing_event_triggers(connection):
        if _may_create_event_trigger(connection, _EVENT_TRIGGERS[name].format(schema), dry_run):
            yield f"event trigger: {name}"


def _leaves_out_generated_columns(connection: BaseDatabaseWrapper) -> bool:
    """From PostgreSQL 18 on, UPDATE of a table with such columns fails unless they are published."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int >= 180000")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(
            "SELECT pubgencols <> 's' FROM pg_publication WHERE pubname = %s", [conf.publication()]
        )
        found = cursor.fetchone()
    return found is not None and bool(found[0])


def _missing_event_triggers(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT evtname FROM pg_event_trigger")
        present = {name for (name,) in cursor.fetchall()}
    return [name for name in _EVENT_TRIGGERS if name not in present]


def _may_create_event_trigger(connection: BaseDatabaseWrapper, statement: str, dry_run: bool) -> bool:
    """Try it: providers let more roles than superusers. Without it post_migrate and sync find new tables."""
    try:
        with transaction.atomic(using=connection.alias):
            _execute(connection, statement)
            transaction.set_rollback(dry_run, using=connection.alias)
    except DatabaseError as error:
        if sqlstate_of(error) != _INSUFFICIENT_PRIVILEGE:
            raise
        return False
    return True


def _apply(using: str, steps: list[TrackingStep], lock_timeout: float, attempts: int) -> None:
    for attempt in range(1, attempts + 1):
        try:
            with transaction.atomic(using=using), connections[using].cursor() as cursor:
                timeout = f"{int(lock_timeout * 1000)}ms"
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [timeout])
                for step in steps:
                    cursor.execute(step.statement)
            return
        except DatabaseError as error:
            if sqlstate_of(error) != _LOCK_NOT_AVAILABLE or attempt == attempts:
                raise
            # Those who queued behind our lock request run first.
            time.sleep(lock_timeout / 4 * attempt)


def _execute(
    connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any] | None = None
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def like(patterns: list[str]) -> list[str]:
    """The settings' patterns as LIKE reads them."""
    escaped = (pattern.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%") for pattern in patterns)
    return [pattern.replace("*", "%").replace("?", "_") for pattern in escaped]
