# ruff: noqa: S608 - the SQL of tests
"""A worker that a test starts, stops and asks for what it has written; and what it ought to have written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import psycopg2
from django.db import connection
from django.test import override_settings

from bemi_django import conf
from bemi_django.ingest.loop.worker import Worker
from bemi_django.ingest.progress import Progress
from bemi_django.schema import tracking
from tests.integration.conftest import drop_slot, grant, read_log, release, worker_config
from tests.support import roles
from tests.support.polling import until

SETTINGS = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
}


class Change(NamedTuple):
    """A row of ``changes``; ``before`` and ``after`` are text, as the server prints jsonb."""

    operation: str
    schema: str
    table: str
    partition: str | None
    key: str | None
    previous_key: str | None
    before: str
    after: str
    unavailable: dict[str, list[str]] | None = None


def execute(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def wait_until(query: str) -> None:
    """Ask until the first value of the answer is true."""
    until(lambda: execute(query)[0][0], why=lambda: query)


@contextmanager
def another_session(**parameters: Any) -> Iterator[Any]:
    """A cursor of one that is not Django's; what it does not commit is not done."""
    other = psycopg2.connect(**{**conf.connection_parameters("default"), **parameters})
    with closing(other), other.cursor() as cursor:
        yield cursor


class Pipeline:
    """Stays connected between looks at what it has written, unless it is stopped."""

    def __init__(self, slot: str) -> None:
        self._slot = slot
        self._worker: Worker | None = None
        self._last = "00000000-0000-0000-0000-000000000000"
        self.contexts: list[dict[str, Any]] = []
        """Those of the changes that were drained last."""
        self.drain()

    def catch_up(self) -> None:
        """Write what is there. A stopped worker is started."""
        if self._worker is None:
            self._worker = Worker(worker_config(self._slot), Progress())
        self._worker.run(until_current=True)

    def drain(self) -> list[Change]:
        """Catch up and return the changes since the last call."""
        self.catch_up()
        rows = read_log(
            'SELECT id::text, context::text, operation, schema, "table", partition, primary_key, '
            "previous_primary_key, before::text, after::text, unavailable::text "
            "FROM changes WHERE id > %s ORDER BY id",
            [self._last],
        )
        if rows:
            self._last = rows[-1][0]
        self.contexts = [json.loads(context) for _, context, *_ in rows]
        return [Change._make([*row[2:-1], row[-1] and json.loads(row[-1])]) for row in rows]

    def stop(self) -> None:
        """End the session; what is written from now on waits in the WAL."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
            release(self._slot)

    def close(self) -> None:
        self.stop()
        drop_slot(self._slot)


class Witness:
    """Writes rows and notes, at each of them, what ``to_jsonb`` gives.

    ``keys`` holds the columns of the key of each table, quoted, by the name that the table is written to.
    """

    def __init__(self) -> None:
        self.keys: dict[str, list[str]] = {}
        self.expected: list[Change] = []

    def insert(self, table: str, values: str, *, columns: str = "", under: str | None = None) -> None:
        """Insert one row; ``under`` is the root of the partition that is written to."""
        named = f"({columns}) " if columns else ""
        source = f"VALUES ({values})" if values else "DEFAULT VALUES"
        ((key, row),) = execute(f"INSERT INTO {table} AS t {named}{source} RETURNING {self._row(table)}")
        self._expect("CREATE", under, table, key, None, "{}", row)

    def update(self, table: str, assignments: str, where: str = "true", *, under: str | None = None) -> None:
        ((old_key, old),) = execute(f"SELECT {self._row(table)} FROM {table} t WHERE {where}")
        ((key, row),) = execute(
            f"UPDATE {table} AS t SET {assignments} WHERE {where} RETURNING {self._row(table)}"
        )
        self._expect("UPDATE", under, table, key, old_key if old_key != key else None, old, row)

    def delete(self, table: str, where: str = "true", *, under: str | None = None) -> None:
        ((key, row),) = execute(f"DELETE FROM {table} AS t WHERE {where} RETURNING {self._row(table)}")
        self._expect("DELETE", under, table, key, None, row, "{}")

    def _row(self, table: str) -> str:
        columns = [f"t.{column}" for column in self.keys.get(table, [])]
        # format() prints as the stream does, which a cast to text does not for every type.
        key = f"format('%s', {columns[0]})" if columns else "NULL"
        if len(columns) > 1:
            key = f"jsonb_build_array({', '.join(columns)})::text"
        return f"{key}, to_jsonb(t)::text"

    def _expect(
        self,
        operation: str,
        under: str | None,
        written: str,
        key: str | None,
        previous: str | None,
        before: str,
        after: str,
    ) -> None:
        schema, table = (under or written).split(".")
        partition = written if under else None
        self.expected.append(Change(operation, schema, table, partition, key, previous, before, after))


def plain_settings() -> None:
    """The session of the contract: PostgreSQL's own defaults, and UTC."""
    execute(
        "SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in SETTINGS.items())
    )


@contextmanager
def laboratory(*include: str) -> Iterator[Pipeline]:
    """A pipeline over tables of the patterns, for tests that clean up after themselves."""
    with override_settings(BEMI_INCLUDE=list(include)):
        tracking.sync()
        pipeline = Pipeline("bemi_laboratory")
        try:
            yield pipeline
        finally:
            pipeline.close()
    tracking.sync()


@contextmanager
def experiment(pipeline: Pipeline) -> Iterator[None]:
    """The schema ``lab``, and a session as the contract of ``to_jsonb`` wants it."""
    plain_settings()
    execute("CREATE SCHEMA lab")
    if roles.are_in_use():
        # As "bemi grants" would print when types that render themselves are in there.
        execute(f"GRANT USAGE ON SCHEMA lab TO {roles.WORKER}")
    pipeline.drain()
    yield
    connection.close()
    for (schema,) in execute(
        "SELECT quote_ident(nspname) FROM pg_namespace WHERE starts_with(nspname, 'lab')"
    ):
        execute(f"DROP SCHEMA {schema} CASCADE")
    execute("DELETE FROM changes")
    execute("DELETE FROM bemi_dead_letters")


@contextmanager
def no_standby() -> Iterator[None]:
    """Sessions that ask for synchronous replication wait for a standby that is not there."""
    database = connection.settings_dict["NAME"]
    execute("SET synchronous_commit = local")
    execute(f"ALTER DATABASE {database} SET synchronous_commit = local")
    execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    execute("SELECT pg_reload_conf()")
    wait_until("SELECT current_setting('synchronous_standby_names') = 'nobody'")
    # The checkpointer tells the others.
    execute("CHECKPOINT")
    try:
        yield
    finally:
        execute("ALTER SYSTEM RESET synchronous_standby_names")
        execute("SELECT pg_reload_conf()")
        wait_until("SELECT current_setting('synchronous_standby_names') = ''")
        execute("CHECKPOINT")
        execute(f"ALTER DATABASE {database} RESET synchronous_commit")
        execute("RESET synchronous_commit")


@contextmanager
def no_event_triggers() -> Iterator[None]:
    """Be a database whose roles may have none, as on many a managed server."""
    with roles.administrator(str(connection.settings_dict["NAME"])) as cursor:
        cursor.execute("DROP EVENT TRIGGER _bemi_follow_ddl")
        cursor.execute("DROP EVENT TRIGGER _bemi_follow_drop")
    if roles.are_in_use():
        yield
        grant("default")
        tracking.sync()
        return
    execute("CREATE ROLE bemi_migrator")
    # It has the rights of a superuser's objects, and is none.
    execute("DO $$BEGIN EXECUTE format('GRANT %I TO bemi_migrator', current_user); END$$")
    try:
        yield
    finally:
        # What was made meanwhile has to belong to somebody.
        execute("DO $$BEGIN EXECUTE format('REASSIGN OWNED BY bemi_migrator TO %I', current_user); END$$")
        execute("DROP ROLE bemi_migrator")
        tracking.sync()


def sync_as_migrator() -> None:
    """``sync`` by a role that may have no event triggers."""
    if not roles.are_in_use():
        execute("SET ROLE bemi_migrator")
    try:
        outcome = tracking.sync()
    finally:
        execute("RESET ROLE")
    assert outcome.failed == []
    assert not any("event trigger" in line for line in outcome.done)
