"""The settings: one function each, read when it is called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from django.conf import settings
from django.db import connections
from django.http import HttpRequest
from django.utils.module_loading import import_string

from bemi_django.wire.defaults import EXCLUDE, INCLUDE, PUBLICATION

ContextFunction = Callable[[HttpRequest], Mapping[str, Any]]
ScopeFunction = Callable[[HttpRequest, Any], Any]


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


def accept_gap() -> bool:
    """``BEMI_ACCEPT_GAP``: whether ``bemi run`` goes on after lost history without ``--accept-gap``."""
    return bool(getattr(settings, "BEMI_ACCEPT_GAP", False))


def as_of_patience() -> float:
    """``BEMI_AS_OF_PATIENCE``: seconds that ``as_of()`` waits for the log to move; 0: it does not wait."""
    return float(getattr(settings, "BEMI_AS_OF_PATIENCE", 10))


def publication() -> str:
    """``BEMI_PUBLICATION``: name of the publication."""
    return cast(str, getattr(settings, "BEMI_PUBLICATION", PUBLICATION))


def include() -> list[str]:
    """``BEMI_INCLUDE``: patterns ``schema.table`` (``*`` and ``?``) of the tables to track."""
    return list(getattr(settings, "BEMI_INCLUDE", INCLUDE))


def exclude() -> list[str]:
    """``BEMI_EXCLUDE``: patterns of the tables not to track."""
    return list(getattr(settings, "BEMI_EXCLUDE", EXCLUDE))


def renamed_columns() -> dict[str, dict[str, str]]:
    """``BEMI_RENAMED_COLUMNS``: ``{"schema.table": {old: new}}``, columns that had another name."""
    return dict(getattr(settings, "BEMI_RENAMED_COLUMNS", {}))


def index_values() -> bool:
    """``BEMI_INDEX_VALUES``: whether an index finds values of ``before`` and ``after`` in the log."""
    return bool(getattr(settings, "BEMI_INDEX_VALUES", False))


def trusted_proxies() -> int | str | Iterable[str] | None:
    """``BEMI_TRUSTED_PROXIES``: the trusted proxies, their number or networks; None: no ``ip`` is kept."""
    return cast("int | str | Iterable[str] | None", getattr(settings, "BEMI_TRUSTED_PROXIES", None))


def admin_history() -> str | None:
    """``BEMI_ADMIN_HISTORY``: ``"button"`` beside Django's own history, ``"replace"`` it, None: neither."""
    return cast("str | None", getattr(settings, "BEMI_ADMIN_HISTORY", "button"))


def admin_scope() -> ScopeFunction | None:
    """``BEMI_ADMIN_SCOPE``: dotted path of ``fn(request, changes) -> changes``."""
    path = getattr(settings, "BEMI_ADMIN_SCOPE", None)
    return cast(ScopeFunction, import_string(path)) if path else None


def masked_fields() -> list[str]:
    """``BEMI_MASKED_FIELDS``: patterns ``table.column`` whose values few may see."""
    return list(getattr(settings, "BEMI_MASKED_FIELDS", ["*.password"]))


def engine_options(alias: str) -> dict[str, Any]:
    """``BEMI_ENGINE_OPTIONS``: arguments of SQLAlchemy's ``create_engine()``, by alias of the database."""
    return dict(getattr(settings, "BEMI_ENGINE_OPTIONS", {}).get(alias, {}))


# A server that vanishes without a word is noticed after a minute, not after two hours.
_KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

# Arguments of psycopg2.connect() and psycopg.connect() that are not libpq's.
_OF_THE_DRIVER = frozenset(
    ("autocommit", "connection_factory", "context", "cursor_factory", "prepare_threshold", "row_factory")
)


def connection_parameters(alias: str) -> dict[str, Any]:
    """What Django connects with, as libpq parameters: the worker's driver need not be Django's."""
    parameters = connections[alias].get_connection_params()
    given = {key: value for key, value in parameters.items() if key not in _OF_THE_DRIVER}
    return {**_KEEPALIVE, **given}
