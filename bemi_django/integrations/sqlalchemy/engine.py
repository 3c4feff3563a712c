"""Pooled SQLAlchemy engines for the databases in ``DATABASES``."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.postgresql.psycopg_any import IsolationLevel, is_psycopg3
from sqlalchemy import Engine, create_engine, event

from bemi_django import conf
from bemi_django.capture.hooks.sqlalchemy_engine import install

# Parameters that Django passes to its driver for its own purposes.
_OF_DJANGO = ("context", "cursor_factory")


def get_engine(using: str = "default") -> Engine:
    """Return the engine of a database, with a pool separate from Django's connections.

    It connects as Django does (TLS, service, passfile, role, isolation level, time zone). The pool follows
    ``OPTIONS["pool"]``, ``CONN_MAX_AGE`` and ``CONN_HEALTH_CHECKS``; ``BEMI_ENGINE_OPTIONS`` adds
    arguments of ``create_engine()``.

    Args:
        using: Alias of the database.

    Returns:
        The engine; the same for each call with the same alias.

    Raises:
        ImproperlyConfigured: If the database is not PostgreSQL.
    """
    return _engine(using)


@cache
def _engine(alias: str) -> Engine:
    connection: Any = connections[alias]
    if connection.vendor != "postgresql":
        raise ImproperlyConfigured(f"the database {alias!r} is not PostgreSQL, which get_engine() needs")
    options = {**_options(connection), **conf.engine_options(alias)}
    engine = create_engine(
        # Without the driver's name this means psycopg2 on SQLAlchemy 2.0 and psycopg 3 on 2.1.
        "postgresql+psycopg://" if is_psycopg3 else "postgresql+psycopg2://",
        **options,
    )
    if "connect_args" not in options:
        event.listen(engine, "do_connect", lambda *called: called[3].update(_arguments(connection)))
    install(engine)
    event.listen(engine, "connect", lambda opened, record: _configure(connection, opened))
    _forget_after_fork(engine)
    return engine


def _arguments(connection: Any) -> dict[str, Any]:
    # Asked for each connection: a backend may compute a password that expires.
    given = connection.get_connection_params()
    return {name: value for name, value in given.items() if name not in _OF_DJANGO}


def _options(connection: Any) -> dict[str, Any]:
    settings = connection.settings_dict
    options: dict[str, Any] = {"pool_pre_ping": settings["CONN_HEALTH_CHECKS"]}
    if settings["CONN_MAX_AGE"]:
        options["pool_recycle"] = settings["CONN_MAX_AGE"]
    pool = settings["OPTIONS"].get("pool")
    if isinstance(pool, dict):
        options |= _pool_options(pool)
    level = settings["OPTIONS"].get("isolation_level")
    if level is not None:
        options["isolation_level"] = IsolationLevel(level).name.replace("_", " ")
    return options


def _pool_options(pool: dict[str, Any]) -> dict[str, Any]:
    least = pool.get("min_size", 4)
    options = {"pool_size": least, "max_overflow": (pool.get("max_size") or least) - least}
    for theirs, ours in (("timeout", "pool_timeout"), ("max_lifetime", "pool_recycle")):
        if theirs in pool:
            options[ours] = pool[theirs]
    return options


def _configure(connection: Any, opened: Any) -> None:
    """Set the time zone and the role of a new connection, as Django does for its own."""
    role = connection.settings_dict["OPTIONS"].get("assume_role")
    with opened.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.set_config('TimeZone', %s, false)", [connection.timezone_name])
        if role:
            cursor.execute("SELECT pg_catalog.set_config('role', %s, false)", [role])
    opened.commit()


def _forget_after_fork(engine: Engine) -> None:
    if hasattr(os, "register_at_fork"):
        # The sockets belong to the parent: a child that closed them would end the parent's sessions.
        os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
