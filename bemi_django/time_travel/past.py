"""Put a transaction into the past, after checking that history is complete since then."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django.exceptions import BeforeHistory, HistoryError, PastIsReadOnly
from bemi_django.schema import search_path
from bemi_django.time_travel import cursor_paths, due_views, late, snapshots
from bemi_django.time_travel.erased_rows import ErasedRows
from bemi_django.time_travel.moments import LogPosition, PastMoment, locate
from bemi_django.time_travel.past_tables import (
    PastTable,
    broken,
    complete_from,
    protected,
    read_tables,
    removed,
    tracked_later,
)
from bemi_django.time_travel.snapshots import Snapshot
from bemi_django.time_travel.statements.redirection import Redirection
from bemi_django.time_travel.unnoticed import read_unnoticed

_BOUND = "SELECT _bemi.bound_v1(%s)::text"
_SESSION = "SELECT current_database(), current_setting('standard_conforming_strings') = 'on'"
# Executed in the past: all names have their schema.
_VIEW = """
SELECT pg_catalog.to_regclass(pg_catalog.format(
    '%%I.%%I', _bemi.past_schema_v1(%s::pg_catalog.text), %s::pg_catalog.text)) IS NOT NULL
"""
_PATH = """
SELECT string_agg(path.part, ', ' ORDER BY number, is_present), coalesce(bool_or(NOT is_present), false)
FROM (
    SELECT quote_ident(name) AS part, number, true AS is_present
    FROM unnest(%(schemas)s::name[]) WITH ORDINALITY s (name, number)
    UNION ALL
    SELECT quote_ident(n.nspname), number, false
    FROM unnest(%(schemas)s::name[]) WITH ORDINALITY s (name, number)
    JOIN pg_namespace n ON n.nspname = _bemi.past_schema_v1(s.name::text)
) path
"""
_SET = """
SELECT set_config('bemi.as_of', %s, true), set_config('bemi.as_of_late', %s, true),
       set_config('bemi.as_of_database', %s, true), set_config('bemi.as_of_unknown', %s, true),
       set_config('bemi.as_of_hidden', %s, true),
       -- Compiling would take longer than running most queries.
       set_config('jit', 'off', true)
"""


class Past(NamedTuple):
    """The past that a connection sees, stored on it as ``bemi_past``; ``hidden`` columns are not known.

    ``erased`` has the rows of which values were erased since the moment, and ``known_since`` the moment from
    which on a table is known, by the reason why it is not known now.
    """

    position: LogPosition
    snapshot: Snapshot
    tables: list[PastTable]
    redirection: Redirection
    ignores_policies: bool
    hidden: dict[str, list[str]] = {}
    erased: ErasedRows | None = None
    known_since: dict[str, datetime] = {}

    def prepared(self, sql: str, *, is_template: bool) -> str:
        """Return the statement to run in the past.

        Args:
            sql: The statement.
            is_template: Whether the driver puts parameters into it, so that percent signs are doubled.

        Raises:
            PastIsReadOnly: It writes.
            HistoryError: It needs what is not known of the past.
        """
        if self.redirection.is_write(sql):
            raise PastIsReadOnly
        self.redirection.check(sql, self.hidden, is_template=is_template)
        return self.redirection.of(sql, is_template=is_template)


def look(
    connection: BaseDatabaseWrapper,
    log: str,
    moment: PastMoment,
    *,
    ignore_policies: bool,
    present: frozenset[str] = frozenset(),
) -> Past | None:
    """Take the transaction's snapshot and go back; return None if the caller must take another snapshot."""
    with connection.cursor() as cursor:
        schemas = {"schemas": search_path.close(cursor)}
    with cursor_paths.closed_for_cursors(connection):
        return _looked(connection, log, moment, schemas, ignores_policies=ignore_policies, present=present)


def _looked(
    connection: BaseDatabaseWrapper,
    log: str,
    moment: PastMoment,
    schemas: dict[str, list[str]],
    *,
    ignores_policies: bool,
    present: frozenset[str],
) -> Past | None:
    snapshot = snapshots.take(connection, log)
    if snapshot is not None:
        snapshot = snapshots.completed(snapshot, connection.alias)
    if snapshot is None:
        return None
    with connection.cursor() as cursor:
        found = locate(cursor, snapshot, moment)
        if found.position > snapshot.position:
            return None
        if any(not change.is_seen and change.position <= found.position for change in snapshot.late):
            # A commit is streamed before it becomes visible; with synchronous replication, long before.
            return None
        if due_views.are_due(cursor):
            due_views.make(snapshot, cursor, connection.alias)
            return None
        cursor.execute(_PATH, schemas)
        path, is_known = cursor.fetchone()
        if not is_known:
            raise HistoryError(
                "no schema of the search_path has views of the past: run 'manage.py bemi sync' as a role "
                "that may create schemas (GRANT CREATE ON DATABASE)"
            )
        unnoticed = read_unnoticed(cursor, schemas["schemas"])
        tables = read_tables(cursor, snapshot.slot)
        stay = _schemas_of(present, schemas["schemas"], tables)
        redirection = _redirection(connection, cursor, tables, stay, unnoticed)
        past = go(cursor, Past(found, snapshot, tables, redirection, ignores_policies))
        search_path.put(cursor, path)
        return past


def _schemas_of(present: frozenset[str], path: list[str], tables: list[PastTable]) -> dict[str, str]:
    """Return the schema in which the path finds each table that stays in the present."""
    known = {(table.schema, table.name) for table in tables}
    found = ((name, next((schema for schema in path if (schema, name) in known), None)) for name in present)
    return {name: schema for name, schema in found if schema is not None}


def _redirection(
    connection: BaseDatabaseWrapper,
    cursor: Any,
    tables: list[PastTable],
    present: dict[str, str],
    unnoticed: frozenset[tuple[str, str]],
) -> Redirection:
    cursor.execute(_SESSION)
    database, standard_strings = cursor.fetchone()

    def came_since(schema: str, name: str) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(_VIEW, [schema, name])
            return bool(cursor.fetchone()[0])

    return Redirection(
        {(table.schema, table.name) for table in tables if table.name not in present},
        {table.schema: table.past for table in tables},
        database,
        standard_strings=standard_strings,
        present=present,
        unnoticed=unnoticed,
        came_since=came_since,
    )


def go(cursor: Any, past: Past) -> Past:
    """Set the moment for the transaction, after checking that history is complete since then."""
    bound = _bound(cursor, past)
    _check_start(past)
    omitted, position = past.snapshot.omissions, past.position.position
    until = {
        **tracked_later(past.tables, past.position),
        **broken(cursor, past.snapshot, past.position, bound),
        **removed(cursor, past.snapshot, past.position, bound),
    }
    unknown = {
        **omitted.unknown(position, past.position.said),
        **({} if past.ignores_policies else protected(past.tables)),
        **{name: one.reason for name, one in until.items()},
    }
    past = past._replace(
        hidden=past.redirection.of_past(omitted.hidden(position)),
        erased=ErasedRows(cursor, past.snapshot, bound),
        known_since=dict(until.values()),
    )
    exchanging = {(table.schema, table.name) for table in past.tables if table.may_exchange}
    changes = late.rendered(past.snapshot.late, uuid.UUID(bound), exchanging)
    seen = bound, changes, past.snapshot.database, json.dumps(unknown), json.dumps(past.hidden)
    cursor.execute(_SET, seen)
    return past


def _bound(cursor: Any, past: Past) -> str:
    cursor.execute(_BOUND, [past.position.position])
    return str(cursor.fetchone()[0])


def _check_start(past: Past) -> None:
    snapshot = past.snapshot
    if past.position.is_before(snapshot.start, snapshot.started_at):
        raise BeforeHistory(
            f"{past.position.said} is before {complete_from(snapshot.start, snapshot.started_at)}",
            snapshot.started_at,
        )
