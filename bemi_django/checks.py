"""System checks.

bemi.E001  BEMI_CONTEXT_FUNCTION cannot be imported
bemi.E002  psycopg2 is not installed
bemi.E003  the log is in another database but no router says so
bemi.E004  BEMI_TRUSTED_PROXIES is neither a number nor a list of networks
bemi.W001  the middleware is missing
bemi.W007  aldjemy is installed but cannot work with psycopg 3 or SQLAlchemy 2

The following need ``manage.py check --database default``. ``migrate`` runs them too; warnings do not stop it.

bemi.W002  tracked tables have missing or outdated triggers
bemi.W003  tracked tables do not have REPLICA IDENTITY FULL
bemi.W004  tracked tables are not in the publication
bemi.W005  wal_level is not logical
bemi.W006  chosen tables cannot be tracked: they are unlogged, or have virtual generated columns and no
           primary key
bemi.W008  handlers (on_change) are registered for tables that are not tracked
bemi.W009  every role may create objects in the schema of the log
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connections, router
from django.utils.module_loading import import_string

from bemi_django import conf, handlers
from bemi_django.capture.proxies import TrustedProxies
from bemi_django.exceptions import NotInstalled
from bemi_django.middleware import BemiMiddleware
from bemi_django.schema import installed, publication, tracking

_LACKS = {
    "triggers": ("bemi.W002", "have missing or outdated triggers"),
    "replica identity full": ("bemi.W003", "do not have REPLICA IDENTITY FULL"),
    "published": ("bemi.W004", "are not in the publication"),
}


@register()
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Check the settings and the installed packages.

    Args:
        kwargs: What Django passes to every check.

    Returns:
        The errors and warnings found.
    """
    found: list[CheckMessage] = []
    try:
        conf.context_function()
    except ImportError as error:
        hint = "Set BEMI_CONTEXT_FUNCTION to the dotted path of a function that takes a request."
        found.append(Error(f"BEMI_CONTEXT_FUNCTION cannot be imported: {error}", hint=hint, id="bemi.E001"))
    try:
        TrustedProxies.of(conf.trusted_proxies())
    except (TypeError, ValueError) as error:
        hint = "Set BEMI_TRUSTED_PROXIES to the number of proxies, or to a list of networks: ['10.0.0.0/8']."
        found.append(Error(f"BEMI_TRUSTED_PROXIES is invalid: {error}", hint=hint, id="bemi.E004"))
    if importlib.util.find_spec("psycopg2") is None:
        found.append(
            Error("psycopg2 is not installed.", hint="Run pip install psycopg2-binary.", id="bemi.E002")
        )
    if not any(_is_ours(path) for path in settings.MIDDLEWARE):
        hint = "Add 'bemi_django.middleware.BemiMiddleware' to MIDDLEWARE, after AuthenticationMiddleware."
        found.append(
            Warning(
                "Writes of requests have no context: BemiMiddleware is missing.", hint=hint, id="bemi.W001"
            )
        )
    return found + _check_router() + _check_aldjemy()


@register("database")
def check_databases(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check the servers and tables of the databases that were asked for.

    Args:
        databases: Aliases given with ``--database``.
        kwargs: What Django passes to every check.

    Returns:
        The warnings found.
    """
    found: list[CheckMessage] = []
    for alias in databases or ():
        if conf.is_source(alias):
            found += _check_server(alias) + _check_tables(alias) + _check_handlers(alias)
        if alias == conf.destination() and connections[alias].vendor == "postgresql":
            found += _check_log_schema(alias)
    return found


def _is_ours(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:
        return False
    return isinstance(middleware, type) and issubclass(middleware, BemiMiddleware)


def _check_server(alias: str) -> list[CheckMessage]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW wal_level")
        (level,) = cursor.fetchone()
    if level == "logical":
        return []
    hint = "Run ALTER SYSTEM SET wal_level = logical, then restart the server."
    message = f"Changes of {alias!r} cannot be recorded: its wal_level is {level}, not logical."
    return [Warning(message, hint=hint, id="bemi.W005")]


def _check_router() -> list[CheckMessage]:
    from bemi_django.models import Change

    written = router.db_for_write(Change)
    if written == conf.destination():
        return []
    message = f"BEMI_DESTINATION is {conf.destination()!r} but Change is routed to {written!r}."
    hint = "Add 'bemi_django.routers.BemiRouter' to DATABASE_ROUTERS, before other routers."
    return [Error(message, hint=hint, id="bemi.E003")]


def _check_aldjemy() -> list[CheckMessage]:
    if not apps.is_installed("aldjemy"):
        return []
    bridge = "or replace aldjemy by bemi_django.integrations.sqlalchemy, which works with SQLAlchemy 2."
    found = []
    if not metadata.version("sqlalchemy").startswith(("0.", "1.")):
        found.append(("aldjemy cannot query with SQLAlchemy 2", f"Run pip install 'sqlalchemy<2', {bridge}"))
    if importlib.util.find_spec("psycopg") is not None:
        # Django prefers psycopg 3 if both are installed.
        hint = f"Uninstall psycopg, so that Django uses psycopg2, {bridge}"
        found.append(("aldjemy's session needs psycopg2, but Django uses psycopg 3", hint))
    return [Warning(f"{message}.", hint=hint, id="bemi.W007") for message, hint in found]


def _check_tables(alias: str) -> list[CheckMessage]:
    try:
        steps = tracking.plan(alias)
    except NotInstalled:
        return []
    found: list[CheckMessage] = []
    for what, (identifier, lack) in _LACKS.items():
        names = [step.name for step in steps if step.what == what]
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            message = f"{len(names)} tracked tables of {alias!r} {lack}: {shown}."
            hint = f"Run manage.py bemi sync --database {alias}."
            found.append(Warning(message, hint=hint, id=identifier))
    return found + _check_obstacles(alias, [step for step in steps if not step.statement])


def _check_log_schema(alias: str) -> list[CheckMessage]:
    try:
        schema = installed.schema_open_to_public(alias)
    except NotInstalled:
        return []
    if schema is None:
        return []
    message = f"Every role may create objects in {schema}, the schema of the log in {alias!r}."
    hint = f"Run REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC; PostgreSQL 15 and later do so by default."
    return [Warning(message, hint=hint, id="bemi.W009")]


def _check_handlers(alias: str) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not publication.exists(alias):
        return found
    for handler in handlers.of_database(alias):
        if not publication.has_table(handler.model._meta.db_table, alias):
            message = f"The handler {handler.name} receives no changes: {alias!r} does not track its table."
            hint = (
                "Add the table to BEMI_INCLUDE or remove it from BEMI_EXCLUDE, then run manage.py bemi sync."
            )
            found.append(Warning(message, hint=hint, id="bemi.W008"))
    return found


def _check_obstacles(alias: str, obstacles: list[tracking.TrackingStep]) -> list[CheckMessage]:
    if not obstacles:
        return []
    named = ", ".join(f"{step.name} ({step.what})" for step in obstacles)
    message = f"Changes of {len(obstacles)} tables of {alias!r} are not recorded: {named}."
    hint = (
        "Unlogged and temporary tables write no WAL: run ALTER TABLE ... SET LOGGED. Tables with virtual "
        "columns need a primary key. Or add the tables to BEMI_EXCLUDE."
    )
    return [Warning(message, hint=hint, id="bemi.W006")]
