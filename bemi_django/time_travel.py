"""See the database as it was: ``with as_of(moment):``."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django import conf, late, snapshots, tracking
from bemi_django.comment import is_write
from bemi_django.exceptions import HistoryError, LogBehind, NotInstalled, PastIsReadOnly
from bemi_django.moments import Moment, Place, place
from bemi_django.past_instances import allow_save as allow_save
from bemi_django.past_instances import marking
from bemi_django.redirection import Redirection
from bemi_django.snapshots import Snapshot
from bemi_django.sql import quote
from bemi_django.wal.lsn import format_lsn

_BOUND = "SELECT {home}._bemi_bound_v1(%s)::text"
_TABLES = "SELECT schema, name, since - '0/0', since_time FROM {home}._bemi_past WHERE definition <> ''"
_BREAKS = """
SELECT operation, schema, "table", position, committed_at, context::text FROM {home}.changes
WHERE operation IN ('GAP', 'SKIPPED', 'TRUNCATE') AND id > %s::uuid AND database = current_database()
    AND pg_visible_in_snapshot(transaction_id::text::xid8, %s::pg_snapshot)
ORDER BY id
"""
# Sent a moment before it shows: with synchronous replication a long moment.
_IS_UNSEEN = """
SELECT coalesce(bool_or(NOT pg_visible_in_snapshot(transaction_id::text::xid8, pg_current_snapshot())), false)
FROM (SELECT transaction_id FROM {home}.changes WHERE id <= %s::uuid AND database = current_database()
      ORDER BY id DESC LIMIT 1000) latest
"""
# What was there before the oldest month that is left was dropped with its partition.
_OLDEST = """
SELECT position, committed_at FROM {home}.changes
WHERE database = current_database() AND %s < (
    SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''([^'']+)''')::timestamptz)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = '{home}.changes'::regclass)
    - interval '1 month'
ORDER BY id LIMIT 1
"""
_PATH = """
SELECT string_agg(path.part, ', ' ORDER BY place, is_present), coalesce(bool_or(NOT is_present), false)
FROM (
    SELECT quote_ident(name) AS part, place, true AS is_present
    FROM unnest(current_schemas(false)) WITH ORDINALITY s (name, place)
    UNION ALL
    SELECT quote_ident(n.nspname), place, false
    FROM unnest(current_schemas(false)) WITH ORDINALITY s (name, place)
    JOIN pg_namespace n ON n.nspname = left('_bemi_past_' || s.name, 63)
) path
"""
_SET = """
SELECT set_config('bemi.as_of', %s, true), set_config('bemi.as_of_late', %s, true),
       set_config('bemi.as_of_unknown', %s, true)
"""
_SQLSTATES = {"BEMI1": HistoryError, "25006": PastIsReadOnly}
# An INSERT inside of WITH: views of the past cannot be written to.
_NOT_UPDATABLE = "55000"
_WRITE = re.compile(r"(?:\s|/\*.*?\*/|--[^\n]*\n)*(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE)\b", re.IGNORECASE | re.DOTALL)
_ATTEMPTS = 10


class Past(NamedTuple):
    """What a connection sees; kept on it as ``bemi_past``."""

    place: Place
    snapshot: Snapshot
    redirection: Redirection


@contextmanager
def as_of(moment: Moment, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Inside, all queries on the connection see the tables as they were at a moment; read-only, nestable.

    ``moment`` is a datetime, an LSN (``"16/B374D848"``), a transaction id or a ``Change``: the state after it.
    Raises HistoryError where that is not known, its message says from when on it is, LogBehind when the log
    does not reach the present, and PastIsReadOnly for a write.
    """
    connection = connections[using]
    outer: Past | None = getattr(connection, "bemi_past", None)
    with ExitStack() as stack:
        past = stack.enter_context(_nested(connection, moment, outer) if outer else _first(connection, moment))
        stack.enter_context(_kept_on(connection, past))
        stack.enter_context(marking())
        try:
            yield
        except Exception as error:
            if (ours := translated(error)) is not None and ours is not error:
                raise ours from error
            raise


def translated(error: BaseException | None) -> HistoryError | PastIsReadOnly | None:
    """What an error of the server means here, also one that SQLAlchemy or Django has wrapped."""
    while error is not None:
        if isinstance(error, (HistoryError, PastIsReadOnly)):
            return error
        sqlstate = sqlstate_of(error)
        if sqlstate in _SQLSTATES:
            return _SQLSTATES[sqlstate](str(error).splitlines()[0] if sqlstate == "BEMI1" else None)
        error = getattr(error, "orig", None) or error.__cause__
    return None


def sqlstate_of(error: BaseException) -> str | None:
    """The server's code of an error of a driver, or of Django."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


@contextmanager
def _first(connection: BaseDatabaseWrapper, moment: Moment) -> Iterator[Past]:
    home = _home(connection)
    if connection.in_atomic_block:
        with _savepoint(connection):
            _check_transaction(connection)
            past = _look(connection, home, moment)
            if past is None:
                raise LogBehind("the log is too far behind this transaction: try again in a new one")
            yield past
        return
    for attempt in range(1, _ATTEMPTS + 1):
        with transaction.atomic(using=connection.alias):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            past = _look(connection, home, moment)
            if past is not None:
                yield past
                return
        time.sleep(0.02 * attempt)
    raise LogBehind("the log is too far behind, or the moment is in the future: try again later")


@contextmanager
def _nested(connection: BaseDatabaseWrapper, moment: Moment, outer: Past) -> Iterator[Past]:
    with _savepoint(connection), connection.cursor() as cursor:
        found = place(cursor, outer.snapshot.home, moment)
        yield _go(cursor, outer._replace(place=found))


@contextmanager
def _savepoint(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Take everything back at the end: settings, too. Nothing can have been written."""
    needs_rollback = connection.needs_rollback
    savepoint = connection.savepoint()
    try:
        yield
    finally:
        if connection.connection is not None and not connection.closed_in_transaction:
            connection.needs_rollback = False
            connection.savepoint_rollback(savepoint)
            connection.savepoint_commit(savepoint)
            connection.needs_rollback = needs_rollback


def _home(connection: BaseDatabaseWrapper) -> str:
    if connection.vendor != "postgresql":
        raise HistoryError(f"{connection.alias} is not PostgreSQL: its changes are not recorded")
    try:
        return quote(tracking.home(connection.alias, "_bemi_past_refresh_v1"))
    except NotInstalled:
        if conf.destination() == connection.alias:
            raise
    raise HistoryError(
        f"the log of {connection.alias} lives in {conf.destination()} (BEMI_DESTINATION): as_of() reads tables and "
        "log in one query and needs both in one database; ask Change.objects instead"
    )


def _check_transaction(connection: BaseDatabaseWrapper) -> None:
    """A transaction that has begun must see one snapshot, and nothing that only it sees."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_isolation'), pg_current_xact_id_if_assigned() IS NULL")
        isolation, is_clean = cursor.fetchone()
        if isolation == "read committed":
            raise HistoryError(
                "as_of() inside atomic() needs a transaction that sees one snapshot: enter it outside "
                "atomic() (ATOMIC_REQUESTS: mark the view as non_atomic_requests), or begin the transaction with "
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
            )
        if not is_clean:
            raise HistoryError("this transaction has written, which no log knows yet: enter as_of() outside of it")
        cursor.execute("SET LOCAL transaction_read_only = on")


def _look(connection: BaseDatabaseWrapper, home: str, moment: Moment) -> Past | None:
    """Take the transaction's snapshot and go back; None when another snapshot must be taken."""
    snapshot = snapshots.completed(snapshots.take(connection, home), connection.alias)
    if snapshot is None:
        return None
    with connection.cursor() as cursor:
        found = place(cursor, home, moment)
        if found.position > snapshot.position:
            return None
        cursor.execute(_PATH)
        path, is_known = cursor.fetchone()
        if not is_known:
            raise HistoryError(
                "no schema of the search path has views of the past: run 'manage.py bemi sync' as a role that may "
                "create schemas (GRANT CREATE ON DATABASE)"
            )
        cursor.execute("SELECT set_config('search_path', %s, true)", [path])
        cursor.execute(_TABLES.format(home=home))
        redirection = Redirection({(schema, name) for schema, name, *_ in cursor.fetchall()})
        past = Past(found, snapshot, redirection)
        cursor.execute(_IS_UNSEEN.format(home=home), [_bound(cursor, past)])
        return None if cursor.fetchone()[0] else _go(cursor, past)


def _go(cursor: Any, past: Past) -> Past:
    """Set the moment, when history is complete since then."""
    bound = _bound(cursor, past)
    _check_start(cursor, past)
    unknown = {**_tracked_later(cursor, past), **_broken(cursor, past, bound)}
    changes = late.rendered(past.snapshot.late, uuid.UUID(bound))
    cursor.execute(_SET, [bound, changes, json.dumps(unknown)])
    return past


def _bound(cursor: Any, past: Past) -> str:
    cursor.execute(_BOUND.format(home=past.snapshot.home), [past.place.position])
    return str(cursor.fetchone()[0])


def _check_start(cursor: Any, past: Past) -> None:
    snapshot = past.snapshot
    if past.place.is_before(snapshot.start, snapshot.started_at):
        raise HistoryError(f"{past.place.said} is before {_from(snapshot.start, snapshot.started_at)}")
    cursor.execute(_OLDEST.format(home=snapshot.home), [snapshot.started_at])
    oldest = cursor.fetchone()
    if oldest is not None and past.place.is_before(*oldest):
        raise HistoryError(f"{past.place.said} is older than what was kept: {_from(*oldest)}")


def _tracked_later(cursor: Any, past: Past) -> dict[str, str]:
    cursor.execute(_TABLES.format(home=past.snapshot.home))
    return {
        f"{schema}.{name}": f"{past.place.said} is before {_from(since, time, f'{schema}.{name}')}"
        for schema, name, since, time in cursor.fetchall()
        if since is not None and past.place.is_before(int(since), time)
    }


def _broken(cursor: Any, past: Past, bound: str) -> dict[str, str]:
    cursor.execute(_BREAKS.format(home=past.snapshot.home), [bound, past.snapshot.snapshot])
    broken = {}
    for operation, schema, table, position, committed_at, context in cursor.fetchall():
        complete = _from(position, committed_at, f"{schema}.{table}" if table else "")
        if operation == "GAP":
            reason = json.loads(context).get("reason", "")
            raise HistoryError(f"changes since {past.place.said} were lost ({reason}): {complete}")
        what = "was truncated" if operation == "TRUNCATE" else "had changes that were not to be recorded"
        broken[f"{schema}.{table}"] = f"since {past.place.said} {schema}.{table} {what}: {complete}"
    return broken


def _from(position: int, time: Any, of: str = "") -> str:
    subject = f"history of {of}" if of else "history"
    return f"{subject} is complete from {time.isoformat(timespec='seconds')} ({format_lsn(int(position))}) on"


@contextmanager
def _kept_on(connection: Any, past: Past) -> Iterator[None]:
    outer = getattr(connection, "bemi_past", None)
    connection.bemi_past = past
    if outer is None:
        connection.execute_wrappers.append(_execute_in_past)
    try:
        yield
    finally:
        connection.bemi_past = outer
        if outer is None:
            connection.execute_wrappers.remove(_execute_in_past)


def _execute_in_past(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, execution: dict[str, Any]
) -> Any:
    past: Past = execution["connection"].bemi_past
    if hasattr(sql, "as_string"):
        cursor = execution["cursor"]
        sql = sql.as_string(getattr(cursor, "cursor", cursor))
    sql = prepared(sql, past)
    try:
        return execute(sql, params, many, execution)
    except DatabaseError as error:
        if (ours := translated(error)) is not None:
            raise ours from error
        if is_write(sql) and sqlstate_of(error) == _NOT_UPDATABLE:
            raise PastIsReadOnly from error
        raise


def prepared(sql: str, past: Past) -> str:
    """A statement as it is to be run in the past. Raises PastIsReadOnly for a write."""
    if _WRITE.match(sql):
        raise PastIsReadOnly
    return past.redirection.of(sql)
