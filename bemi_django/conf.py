"""Settings. Each has a function that reads it whenever it is called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.http import HttpRequest
from django.utils.module_loading import import_string

from bemi_django import destinations
from bemi_django.declarations import declarations
from bemi_django.secrecy.hidden import HiddenText, with_hidden
from bemi_django.setting_values import computed_parameters, patterns
from bemi_django.wire import table_name
from bemi_django.wire.defaults import BOOKKEEPING, LARGEST_DEAD_LETTER, PUBLICATION, TABLE, all_excluded
from bemi_django.wire.table_name import TableName

ContextFunction = Callable[[HttpRequest], Mapping[str, Any]]
ScopeFunction = Callable[[HttpRequest, Any], Any]


def captures() -> bool:
    """Return ``BEMI_CAPTURE``: whether contexts are attached and tables tracked; turn it off in tests."""
    return bool(getattr(settings, "BEMI_CAPTURE", True))


def context_function() -> ContextFunction | None:
    """Return ``BEMI_CONTEXT_FUNCTION``, which is the dotted path of ``fn(request) -> dict``.

    Raises:
        ImportError: The path cannot be imported.
    """
    path = getattr(settings, "BEMI_CONTEXT_FUNCTION", None)
    return cast(ContextFunction, import_string(path)) if path else None


def destination() -> str:
    """Return ``BEMI_DESTINATION``, the alias of the database that holds ``changes``, or a chosen one."""
    return destinations.current()


def table() -> TableName:
    """Return ``BEMI_TABLE``, the name of the log's table.

    Raises:
        ImproperlyConfigured: The log cannot have this name.
    """
    value = getattr(settings, "BEMI_TABLE", TABLE)
    try:
        return table_name.parse(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"BEMI_TABLE is {value!r}: {error}") from None


def db_table() -> str:
    """Return ``db_table`` of the model of the log.

    With an invalid ``BEMI_TABLE``, it is the default, so that the model can be imported and a check reports
    the setting; queries raise ``ImproperlyConfigured``.
    """
    try:
        return table().db_table
    except ImproperlyConfigured:
        return TABLE


def is_source(alias: str) -> bool:
    """Return whether the changes of a database are recorded.

    Args:
        alias: Alias of the database; none are if it is not PostgreSQL or only holds ``changes``.
    """
    is_postgresql = connections[alias].vendor == "postgresql"
    return is_postgresql and (alias == "default" or alias not in destinations.aliases())


def slot(alias: str = "default") -> str | None:
    """Return the name of a new replication slot of a database.

    Args:
        alias: Alias of the database.

    Returns:
        ``BEMI_SLOT``, to which databases other than the default append their alias; None without the
        setting. A log that has begun knows the name of its slot:
        :func:`bemi_django.schema.replication.slots.slot_of`.
    """
    name = cast("str | None", getattr(settings, "BEMI_SLOT", None))
    if not name:
        return None
    # The server accepts lower case letters, digits and underscores only.
    return name if alias == "default" else f"{name}_{re.sub('[^a-z0-9_]', '_', alias.lower())}"


def accept_gap() -> bool:
    """Return ``BEMI_ACCEPT_GAP``: whether ``bemi run`` always acts as with ``--accept-gap``."""
    return bool(getattr(settings, "BEMI_ACCEPT_GAP", False))


def slot_failover() -> bool:
    """Return ``BEMI_SLOT_FAILOVER``: whether standbys synchronise the slot, from PostgreSQL 17 on."""
    return bool(getattr(settings, "BEMI_SLOT_FAILOVER", True))


def largest_dead_letter() -> int:
    """Return ``BEMI_LARGEST_DEAD_LETTER``: the bytes of the largest message that is kept whole."""
    return int(getattr(settings, "BEMI_LARGEST_DEAD_LETTER", LARGEST_DEAD_LETTER))


def archive() -> str:
    """Return ``BEMI_ARCHIVE``: the directory or address of the archive, or an empty string."""
    return HiddenText(getattr(settings, "BEMI_ARCHIVE", None) or "")


def metrics_token() -> str:
    """Return ``BEMI_METRICS_TOKEN``: the bearer token for the metrics of the site, or an empty string."""
    return HiddenText(getattr(settings, "BEMI_METRICS_TOKEN", None) or "")


def as_of_patience() -> float:
    """Return ``BEMI_AS_OF_PATIENCE``: seconds for which ``as_of()`` waits for the log to advance."""
    return float(getattr(settings, "BEMI_AS_OF_PATIENCE", 10))


def publication() -> str:
    """Return ``BEMI_PUBLICATION``, the name of the publication."""
    return cast(str, getattr(settings, "BEMI_PUBLICATION", PUBLICATION))


def include(schemas: Iterable[str]) -> list[str]:
    """Return ``BEMI_INCLUDE``: patterns ``schema.table`` of the tables to track, with ``*`` and ``?``.

    Args:
        schemas: The schemas in which a project finds its tables, which are tracked by default.
    """
    return patterns("BEMI_INCLUDE", [f"{schema}.*" for schema in schemas])


def exclude() -> list[str]:
    """Return the patterns of the tables not to track, which take precedence.

    These are ``BEMI_EXCLUDE``, the default ones, and the tables of models that are declared so.
    """
    declared = [".".join(one.table) for one in declarations() if one.exclude]
    return all_excluded(include(()), [*patterns("BEMI_EXCLUDE"), *declared])


def bookkeeping_tables() -> list[str]:
    """Return ``BEMI_BOOKKEEPING_TABLES``: patterns ``schema.table`` of records about the work of others.

    The admin's list of changes leaves them out by default, and a revert never deletes a row of them.
    """
    return list(getattr(settings, "BEMI_BOOKKEEPING_TABLES", BOOKKEEPING))


def renamed_columns() -> dict[str, dict[str, str]]:
    """Return ``BEMI_RENAMED_COLUMNS``, the present names of columns: ``{"schema.table": {old: new}}``."""
    return dict(getattr(settings, "BEMI_RENAMED_COLUMNS", {}))


def index_values() -> bool:
    """Return ``BEMI_INDEX_VALUES``: whether the log has an index on ``before`` and ``after``."""
    return bool(getattr(settings, "BEMI_INDEX_VALUES", False))


def provenance() -> bool:
    """Return ``BEMI_PROVENANCE``: whether contexts say which connection has written."""
    return bool(getattr(settings, "BEMI_PROVENANCE", True))


def trusted_proxies() -> int | str | Iterable[str] | None:
    """Return ``BEMI_TRUSTED_PROXIES``: the number or the networks of the trusted proxies.

    Returns:
        None if no ``ip`` is recorded.
    """
    return cast("int | str | Iterable[str] | None", getattr(settings, "BEMI_TRUSTED_PROXIES", None))


def trust_request_id() -> bool:
    """Return ``BEMI_TRUST_REQUEST_ID``: whether ``X-Request-ID`` of a trusted proxy is the request's id."""
    return bool(getattr(settings, "BEMI_TRUST_REQUEST_ID", False))


def admin_history() -> str | None:
    """Return ``BEMI_ADMIN_HISTORY``: how an object's page in the admin links to its timeline.

    Returns:
        ``"replace"`` replaces Django's own history, ``"button"`` adds a button beside it, None does neither.
    """
    return cast("str | None", getattr(settings, "BEMI_ADMIN_HISTORY", "replace"))


def admin_scope() -> ScopeFunction | str | None:
    """Return ``BEMI_ADMIN_SCOPE``: ``"models"``, or ``fn(request, changes) -> changes`` by its path.

    Raises:
        ImportError: The path cannot be imported.
    """
    path = getattr(settings, "BEMI_ADMIN_SCOPE", None) or None
    return path if path in (None, "models") else cast(ScopeFunction, import_string(path))


def masked_fields() -> list[str]:
    """Return ``BEMI_MASKED_FIELDS``: patterns of values that need a permission to see."""
    return patterns("BEMI_MASKED_FIELDS", ["*.password"])


def engine_options(alias: str) -> dict[str, Any]:
    """Return the arguments for SQLAlchemy's ``create_engine()`` from ``BEMI_ENGINE_OPTIONS``.

    Args:
        alias: Alias of the database.
    """
    return dict(getattr(settings, "BEMI_ENGINE_OPTIONS", {}).get(alias, {}))


# Without these, a server whose host vanished is noticed after two hours instead of one minute.
_KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

# Arguments of psycopg2.connect() and psycopg.connect() that libpq does not have.
_DRIVER_ARGUMENTS = frozenset(
    ("autocommit", "connection_factory", "context", "cursor_factory", "prepare_threshold", "row_factory")
)


def connection_parameters(alias: str) -> dict[str, Any]:
    """Return Django's connection parameters as libpq's, since the worker may use another driver.

    Args:
        alias: Alias of the database.

    Returns:
        Keyword arguments for ``psycopg2.connect()``.
    """
    parameters = computed_parameters(connections[alias])
    given = {key: value for key, value in parameters.items() if key not in _DRIVER_ARGUMENTS}
    return {**_KEEPALIVE, **with_hidden(given)}
