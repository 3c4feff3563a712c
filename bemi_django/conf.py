"""The settings: one function each, read when it is called."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from django.conf import settings
from django.db import connections
from django.http import HttpRequest
from django.utils.module_loading import import_string

ContextFunction = Callable[[HttpRequest], Mapping[str, Any]]


def context_function() -> ContextFunction | None:
    """``BEMI_CONTEXT_FUNCTION``: dotted path of ``fn(request) -> dict``."""
    path = getattr(settings, "BEMI_CONTEXT_FUNCTION", None)
    return cast(ContextFunction, import_string(path)) if path else None


def destination() -> str:
    """``BEMI_DESTINATION``: alias of the database that holds ``changes``."""
    return cast(str, getattr(settings, "BEMI_DESTINATION", "default"))


def is_source(alias: str) -> bool:
    """Tell whether changes of a database are recorded: not those of one that only holds ``changes``."""
    return connections[alias].vendor == "postgresql" and (alias == "default" or alias != destination())


def slot(alias: str = "default") -> str:
    """``BEMI_SLOT``: name of the replication slot; another database than the default adds its alias."""
    name = cast(str, getattr(settings, "BEMI_SLOT", "bemi"))
    # The server takes lower case letters, digits and underscores.
    return name if alias == "default" else f"{name}_{re.sub('[^a-z0-9_]', '_', alias.lower())}"


def publication() -> str:
    """``BEMI_PUBLICATION``: name of the publication."""
    return cast(str, getattr(settings, "BEMI_PUBLICATION", "bemi"))


def include() -> list[str]:
    """``BEMI_INCLUDE``: patterns ``schema.table`` (``*`` and ``?``) of the tables to track."""
    return list(getattr(settings, "BEMI_INCLUDE", ["public.*"]))


def exclude() -> list[str]:
    """``BEMI_EXCLUDE``: patterns of the tables not to track."""
    return list(getattr(settings, "BEMI_EXCLUDE", ["*.changes", "*.django_migrations", "*.django_session"]))


_NOT_LIBPQ = {"assume_role", "isolation_level", "pool", "server_side_binding", "client_encoding"}


def connection_parameters(alias: str) -> dict[str, Any]:
    """The database's settings as libpq parameters."""
    configured = connections[alias].settings_dict
    named = {
        "dbname": configured["NAME"] or "postgres",
        "user": configured["USER"],
        "password": configured["PASSWORD"],
        "host": configured["HOST"],
        "port": configured["PORT"],
    }
    given = {key: value for key, value in named.items() if value}
    extra = {key: value for key, value in configured["OPTIONS"].items() if key not in _NOT_LIBPQ}
    return {**given, **extra}
