"""Annotate the writes of every PostgreSQL connection that Django opens."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from bemi_django.capture import comment, context, context_encoding
from bemi_django.exceptions import NotInTransaction
from bemi_django.wire import CONTEXT_SETTING

logger = logging.getLogger(__name__)


def install() -> None:
    """Hook the connections that are open and those that will be."""
    connection_created.connect(_on_connection_created, dispatch_uid="bemi_django")
    for connection in connections.all(initialized_only=True):
        install_on(connection)


def install_on(connection: BaseDatabaseWrapper) -> None:
    """Hook one connection; nothing happens on other databases or the second time."""
    # In front: Django's execute_wrapper() removes with a blind pop(), which must never be ours.
    if connection.vendor == "postgresql" and _annotate not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _annotate)


def apply_context(using: str = "default") -> None:
    """Set the context for the rest of the transaction, for writes that cannot carry a comment.

    For ``SELECT fn()`` and the driver's own COPY. Raises NotInTransaction outside ``atomic()``.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    if not connection.in_atomic_block:
        raise NotInTransaction
    value = json.dumps(json.loads(context_encoding.context_json(context.current())))
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [CONTEXT_SETTING, value])


def _on_connection_created(connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    install_on(connection)


def _annotate(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, execution: dict[str, Any]
) -> Any:
    try:
        text = sql if isinstance(sql, str) else _text(sql, execution["cursor"])
        if comment.is_write(text):
            sql = comment.prefix(text, context.current()) + text
    except Exception:
        logger.warning("a write has no context: annotating it failed", exc_info=True)
    # Outside the handler: the statement runs once and its own exception reaches the caller.
    return execute(sql, params, many, execution)


def _text(sql: Any, cursor: Any) -> str:
    """Of what psycopg composes; nothing of what no driver takes, which the driver says."""
    if not hasattr(sql, "as_string"):
        return ""
    return str(sql.as_string(getattr(cursor, "cursor", cursor)))
