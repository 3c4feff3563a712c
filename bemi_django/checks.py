"""System checks.

bemi.E001  BEMI_CONTEXT_FUNCTION cannot be imported
bemi.E002  psycopg2 is not installed
bemi.E003  wal_level is not logical                      (manage.py check --database default)
bemi.W001  the middleware is missing
bemi.W002  tracked tables lack triggers, identity or publication (manage.py check --database default)
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connections
from django.utils.module_loading import import_string

from bemi_django import conf, tracking
from bemi_django.exceptions import NotInstalled
from bemi_django.middleware import BemiMiddleware


@register()
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    try:
        conf.context_function()
    except ImportError as error:
        hint = "Set BEMI_CONTEXT_FUNCTION to the dotted path of a function that takes a request."
        found.append(Error(f"BEMI_CONTEXT_FUNCTION cannot be imported: {error}", hint=hint, id="bemi.E001"))
    if importlib.util.find_spec("psycopg2") is None:
        found.append(Error("psycopg2 is not installed.", hint="pip install psycopg2-binary", id="bemi.E002"))
    if not any(_is_ours(path) for path in settings.MIDDLEWARE):
        hint = "Add 'bemi_django.middleware.BemiMiddleware' to MIDDLEWARE, after authentication."
        found.append(Warning("Requests give no context to their writes.", hint=hint, id="bemi.W001"))
    return found


@register("database")
def check_databases(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for alias in databases or ():
        if connections[alias].vendor == "postgresql":
            found += _check_server(alias) + _check_tables(alias)
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
    hint = "Run ALTER SYSTEM SET wal_level = logical and restart the server."
    return [Error(f"wal_level of {alias!r} is {level}, not logical.", hint=hint, id="bemi.E003")]


def _check_tables(alias: str) -> list[CheckMessage]:
    try:
        missing = tracking.sync(alias, dry_run=True)
    except NotInstalled:
        return []
    if not missing:
        return []
    hint = f"Run manage.py bemi sync --database {alias}."
    message = f"{len(missing)} things are missing on tracked tables of {alias!r}, the first: {missing[0]}."
    return [Warning(message, hint=hint, id="bemi.W002")]
