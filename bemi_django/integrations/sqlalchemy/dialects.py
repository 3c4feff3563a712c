"""SQLAlchemy dialects for a connection that Django opens and whose transactions Django controls."""

from __future__ import annotations

import json
from typing import Any

from django.db import connections
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql import HSTORE, JSONB
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg, PGExecutionContext_psycopg
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from bemi_django.integrations.sqlalchemy.transaction import Joined

_JOINED = "bemi_joined"


def _types(theirs: dict[Any, Any]) -> dict[Any, Any]:
    """Return a dialect's types, adapted to how Django configures its driver to read values."""
    jsonb: Any = theirs[JSONB]
    hstore: Any = theirs[HSTORE]

    class Jsonb(jsonb):  # type: ignore[misc]
        # Django's connections return text.
        def result_processor(self, dialect: Any, coltype: Any) -> Any:
            return lambda value: json.loads(value) if isinstance(value, str) else value

    class Hstore(hstore):  # type: ignore[misc]
        # A dictionary already, if django.contrib.postgres is installed.
        def result_processor(self, dialect: Any, coltype: Any) -> Any:
            parse = HSTORE.result_processor(self, dialect, coltype)
            return lambda value: parse(value) if isinstance(value, str) else value

    return {**theirs, JSONB: Jsonb, HSTORE: Hstore}


def joined(connection: Any) -> Joined | None:
    """Return the part of Django's transaction that a SQLAlchemy connection has joined, if any.

    Args:
        connection: A connection of SQLAlchemy's, with ``info``.

    Returns:
        The joined part, or None before the session's first statement and after its end.
    """
    found: Joined | None = connection.info.get(_JOINED)
    return found


def _take(dbapi_connection: Any) -> Joined | None:
    try:
        found: Joined | None = dbapi_connection.info.pop(_JOINED, None)
    except NotImplementedError:
        # SQLAlchemy's first inspection of the server has no connection record and no transaction.
        return None
    return found


def abandon(dbapi_connection: Any, record: Any, state: Any) -> None:
    """End what a connection has still joined when it returns to the pool: its session was never closed.

    A listener of SQLAlchemy's pool event ``reset``.

    Args:
        dbapi_connection: The driver's connection.
        record: The pool's record of the connection.
        state: How SQLAlchemy resets it; not used.
    """
    if found := record.info.pop(_JOINED, None):
        found.abandon()


class _OnDjango:
    """Begin and end transactions through Django, and leave the connection's settings alone."""

    alias: str

    def on_connect(self) -> None:
        return None

    def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:
        raise exc.ArgumentError(
            "cannot set the isolation level of Django's connection: set isolation_level in its OPTIONS"
        )

    def reset_isolation_level(self, dbapi_connection: Any) -> None:
        pass

    def do_begin(self, dbapi_connection: Any) -> None:
        dbapi_connection.info[_JOINED] = Joined(connections[self.alias])

    def do_commit(self, dbapi_connection: Any) -> None:
        if ending := _take(dbapi_connection):
            ending.commit()

    def do_rollback(self, dbapi_connection: Any) -> None:
        if ending := _take(dbapi_connection):
            ending.rollback()

    def do_rollback_to_savepoint(self, connection: Any, name: str) -> None:
        # Django refuses statements while the transaction is marked as broken.
        if found := joined(connection):
            found.mark_restored()
        super().do_rollback_to_savepoint(connection, name)  # type: ignore[misc]

    def do_close(self, dbapi_connection: Any) -> None:
        pass

    def do_terminate(self, dbapi_connection: Any) -> None:
        pass


class _BoundByServer(PGExecutionContext_psycopg):
    # Django's cursors bind in the client. There, -32768::SMALLINT means -(32768::SMALLINT), which is out of
    # range.
    def create_default_cursor(self) -> Any:
        import psycopg

        opened: Any = self._dbapi_connection.driver_connection
        return psycopg.Cursor(opened)


class DjangoPsycopg(_OnDjango, PGDialect_psycopg):
    """The dialect of a psycopg 3 connection opened by Django."""

    # Not psycopg's own name, so that the hook uses comments, which end with their statement. A setting of
    # Django's transaction would outlive the session.
    driver = "django_psycopg"
    supports_statement_cache = True
    execution_ctx_cls = _BoundByServer
    colspecs = _types(PGDialect_psycopg.colspecs)

    def __init__(self, alias: str, **options: Any) -> None:
        super().__init__(use_native_hstore=False, **options)  # type: ignore[no-untyped-call]
        self.alias = alias


class DjangoPsycopg2(_OnDjango, PGDialect_psycopg2):
    """The dialect of a psycopg2 connection opened by Django."""

    driver = "django_psycopg2"
    supports_statement_cache = True
    colspecs = _types(PGDialect_psycopg2.colspecs)

    def __init__(self, alias: str, **options: Any) -> None:
        super().__init__(use_native_hstore=False, **options)  # type: ignore[no-untyped-call]
        self.alias = alias
