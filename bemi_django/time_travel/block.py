"""``with as_of(moment):`` shows the database as it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django import conf, destinations
from bemi_django.capture.statement import is_write
from bemi_django.exceptions import (
    HistoryError,
    LogBehind,
    NotInstalled,
    PastIsReadOnly,
    first_line,
    sqlstate_of,
)
from bemi_django.routers import lead_to_past
from bemi_django.schema import installed, search_path
from bemi_django.schema.database_names import database_name
from bemi_django.schema.names import unreadable_names
from bemi_django.time_travel import cursor_paths
from bemi_django.time_travel.moments import PastMoment, locate
from bemi_django.time_travel.past import Past, go, look
from bemi_django.time_travel.rollback import rolled_back_savepoint, rolled_back_transaction
from bemi_django.time_travel.save_guard import marking

_NOT_KNOWN, _READ_ONLY = "BEMI1", "25006"
# A write inside WITH: PostgreSQL refuses it because the tables are views.
_NOT_UPDATABLE = "55000"
_NO_TEXT = "22021"
_ATTEMPTS = 10


@contextmanager
def as_of(
    moment: PastMoment,
    using: str = DEFAULT_DB_ALIAS,
    *,
    ignore_policies: bool = False,
    present: Collection[str] = (),
) -> Iterator[None]:
    """Show the tables as they were to all queries on a connection. Read-only; blocks can be nested.

    The block ends by rollback, so functions that it gives to ``transaction.on_commit`` are not called.

    Args:
        moment: A datetime (naive ones are in the current time zone), an LSN such as ``"16/B374D848"``, a
            transaction id, a ``Change``, which means the state after its transaction, or a ``JustBefore`` of
            one, which means the state before it.
        using: Alias of the database.
        ignore_policies: Whether tables can be read although row-level security applies to the reader. Rows
            that were changed since the moment are then visible whatever the policies say.
        present: Names of tables that are shown as they are now, such as ``django_session``. Blocks inside
            this one show the same tables so.

    Raises:
        HistoryError: The state is not known; the message says from when on it is, or what is to be renamed.
        LogBehind: The worker has not written the latest changes within ``BEMI_AS_OF_PATIENCE`` seconds.
        PastIsReadOnly: The block tries to write.
    """
    connection = connections[using]
    lead_to_past()
    outer: Past | None = getattr(connection, "bemi_past", None)
    with _naming_what_is_no_text(using), ExitStack() as stack:
        past = stack.enter_context(
            _nested(connection, moment, outer, ignore_policies)
            if outer
            else _first(connection, moment, ignore_policies, frozenset(present))
        )
        stack.enter_context(_kept_on(connection, past))
        if outer is None:
            stack.enter_context(cursor_paths.past_for_cursors(connection))
        stack.enter_context(marking())
        try:
            yield
        except Exception as error:
            if (ours := translated(error)) is not None and ours is not error:
                raise ours from error
            raise


def translated(error: BaseException | None) -> HistoryError | PastIsReadOnly | None:
    """Return our exception for an error of the server, also if Django or SQLAlchemy has wrapped it."""
    while error is not None:
        if isinstance(error, (HistoryError, PastIsReadOnly)):
            return error
        if (sqlstate := sqlstate_of(error)) == _NOT_KNOWN:
            reason = first_line(error)
            return HistoryError(reason, _known_since(reason))
        if sqlstate == _READ_ONLY:
            return PastIsReadOnly()
        error = getattr(error, "orig", None) or error.__cause__
    return None


def _known_since(reason: str) -> datetime | None:
    """Return from when on a table is known, of which the server has said why it is not known now."""
    for connection in connections.all(initialized_only=True):
        past: Past | None = getattr(connection, "bemi_past", None)
        if past is not None and reason in past.known_since:
            return past.known_since[reason]
    return None


@contextmanager
def _naming_what_is_no_text(using: str) -> Iterator[None]:
    """Say in a block which names in the database cannot be read as text, if that is why it fails."""
    try:
        yield
    except DatabaseError as error:
        if sqlstate_of(error) == _NO_TEXT and (renamed := unreadable_names.remedy(using)):
            raise HistoryError(f"{first_line(error)}: {renamed}") from error
        raise


@contextmanager
def _first(
    connection: BaseDatabaseWrapper, moment: PastMoment, ignore_policies: bool, present: frozenset[str]
) -> Iterator[Past]:
    log = _log(connection)
    if connection.in_atomic_block:
        with rolled_back_savepoint(connection):
            _check_transaction(connection)
            past = look(connection, log, moment, ignore_policies=ignore_policies, present=present)
            if past is None:
                raise LogBehind("the log is too far behind this transaction: try again in a new transaction")
            yield past
        return
    for attempt in range(1, _ATTEMPTS + 1):
        with rolled_back_transaction(connection):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            past = look(connection, log, moment, ignore_policies=ignore_policies, present=present)
            if past is not None:
                yield past
                return
        time.sleep(0.02 * attempt)
    raise LogBehind("the log is too far behind, or the moment is in the future: try again later")


@contextmanager
def _nested(
    connection: BaseDatabaseWrapper, moment: PastMoment, outer: Past, ignore_policies: bool
) -> Iterator[Past]:
    with rolled_back_savepoint(connection), connection.cursor() as cursor:
        with search_path.closed(cursor):
            position = locate(cursor, outer.snapshot, moment)
            past = go(cursor, outer._replace(position=position, ignores_policies=ignore_policies))
        yield past


def _log(connection: BaseDatabaseWrapper) -> str:
    if connection.vendor != "postgresql":
        raise HistoryError(
            f"the database {connection.alias!r} is not PostgreSQL, so its changes are not recorded"
        )
    try:
        with connection.cursor() as cursor:
            installed.require(cursor, "past_refresh_v1")
        # All queries that name it have parameters.
        log = installed.log(connection.alias).replace("%", "%%")
    except NotInstalled:
        if conf.destination() == connection.alias:
            raise
    else:
        _require_whole(connection.alias)
        return log
    raise HistoryError(
        f"the log of {connection.alias!r} is in {conf.destination()!r} (BEMI_DESTINATION), but as_of() joins "
        "tables with the log and needs both in one database: query Change.objects instead"
    )


def _require_whole(alias: str) -> None:
    """Check that no other destination has changes of a database."""
    if len(destinations.aliases()) == 1:
        return
    others = [one for one in destinations.of_database(database_name(alias)) if one != alias]
    if others:
        raise HistoryError(
            f"the changes of {alias!r} are also in {' and '.join(others)} (BEMI_DESTINATIONS), but as_of() "
            "needs all of them in the database of the tables: query Change.objects.everywhere() instead"
        )


def _check_transaction(connection: BaseDatabaseWrapper) -> None:
    """Check that a transaction that has begun uses one snapshot and has not written."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_catalog.current_setting('transaction_isolation'), "
            "pg_catalog.pg_current_xact_id_if_assigned() IS NULL"
        )
        isolation, is_clean = cursor.fetchone()
        if isolation == "read committed":
            raise HistoryError(
                "as_of() inside atomic() needs a transaction with a single snapshot: enter it outside "
                "atomic() (with ATOMIC_REQUESTS, mark the view as non_atomic_requests), or begin the "
                "transaction with SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
            )
        if not is_clean:
            raise HistoryError(
                "this transaction has written, and the log does not have these changes yet: enter as_of() "
                "outside the transaction"
            )
        cursor.execute("SET LOCAL transaction_read_only = on")


@contextmanager
def _kept_on(connection: Any, past: Past) -> Iterator[None]:
    outer = getattr(connection, "bemi_past", None)
    connection.bemi_past = past
    if outer is None:
        connection.execute_wrappers.append(_execute_in_past)
        # Grouping by the primary key alone works for tables, but not for views.
        connection.features.allows_group_by_selected_pks = False
    try:
        yield
    finally:
        connection.bemi_past = outer
        if outer is None:
            connection.execute_wrappers.remove(_execute_in_past)
            del connection.features.allows_group_by_selected_pks


def _execute_in_past(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, execution: dict[str, Any]
) -> Any:
    past: Past = execution["connection"].bemi_past
    if hasattr(sql, "as_string"):
        cursor = execution["cursor"]
        sql = sql.as_string(getattr(cursor, "cursor", cursor))
    sql = past.prepared(sql, is_template=params is not None)
    try:
        return execute(sql, params, many, execution)
    except DatabaseError as error:
        if (ours := translated(error)) is not None:
            raise ours from error
        if is_write(sql) and sqlstate_of(error) == _NOT_UPDATABLE:
            raise PastIsReadOnly from error
        raise
