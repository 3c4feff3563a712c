"""SQLAlchemy sessions on Django's own connection, in its transaction."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db import connections
from django.db.backends.postgresql.psycopg_any import is_psycopg3
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from bemi_django.capture.hooks.sqlalchemy_engine import install
from bemi_django.capture.hooks.sqlalchemy_past import follow
from bemi_django.integrations.sqlalchemy.dialects import abandon, joined


def get_session(using: str = "default", **options: Any) -> Session:
    """Return a new session on Django's connection to a database.

    In ``atomic()`` the session takes part in Django's transaction: its commit releases a savepoint, its
    rollback returns to where the session began. Outside, commit commits. Close the session, or use it in a
    ``with`` statement.

    Args:
        using: Alias of the database.
        options: Arguments of ``Session``.

    Raises:
        TransactionManagementError: At the first statement, if Django's block is broken.
    """
    return Session(_engine(using), **options)


@cache
def _engine(alias: str) -> Engine:
    name = "psycopg" if is_psycopg3 else "psycopg2"
    registry.register(
        f"postgresql.django_{name}",
        "bemi_django.integrations.sqlalchemy.dialects",
        "DjangoPsycopg" if is_psycopg3 else "DjangoPsycopg2",
    )
    engine = create_engine(
        f"postgresql+django_{name}://",
        alias=alias,
        poolclass=NullPool,
        pool_reset_on_return=None,
        creator=lambda: _driver(alias),
    )
    install(engine)
    event.listen(engine, "before_cursor_execute", _before_execute)
    follow(engine, alias)
    event.listen(engine, "handle_error", _on_error)
    event.listen(engine, "reset", abandon)
    return engine


def _driver(alias: str) -> Any:
    connection = connections[alias]
    connection.ensure_connection()
    return connection.connection


def _before_execute(connection: Any, *args: Any) -> None:
    found = joined(connection)
    if found is None:
        return
    if found.has_ended:
        # Django's block has ended and the session continues: it joins what is open now.
        connection.dialect.do_begin(connection.connection)
    else:
        found.check()


def _on_error(failed: ExceptionContext) -> None:
    if failed.connection is not None and (found := joined(failed.connection)):
        found.mark_broken()
