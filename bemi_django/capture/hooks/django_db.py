"""Attach the context to the writes of Django's PostgreSQL connections."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from bemi_django.capture import comment, context
from bemi_django.capture.functions import guards
from bemi_django.capture.hooks.django_savepoints import DjangoSavepoints, remember
from bemi_django.capture.hooks.psycopg2_extras import composed_from
from bemi_django.capture.hooks.query_log import hide_comments
from bemi_django.capture.statement import is_write
from bemi_django.exceptions import NotInTransaction
from bemi_django.wire import CONTEXT_SETTING

logger = logging.getLogger(__name__)
Wrapper = TypeVar("Wrapper", bound=Callable[..., Any])


def install() -> None:
    """Install the hook on every connection that is open or will be opened."""
    if DjangoSavepoints not in guards:
        # The outermost block: it repairs what Django knows of a transaction after the others have ended.
        guards.insert(0, DjangoSavepoints)
    connection_created.connect(_on_connection_created, dispatch_uid="bemi_django")
    for connection in connections.all(initialized_only=True):
        install_on(connection)


def install_on(connection: BaseDatabaseWrapper) -> None:
    """Install the hook on one connection, unless it has it already or is not to PostgreSQL.

    Args:
        connection: A connection of Django's.
    """
    remember(connection)
    # Insert it in front: when a block of execute_wrapper() ends, Django pops the last wrapper of the list.
    if connection.vendor == "postgresql" and _annotate not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _annotate)
        hide_comments(connection)


def seeing_comments(wrapper: Wrapper) -> Wrapper:
    """Let an ``execute_wrapper()`` see statements as they are sent, with the comment."""
    wrapper.sees_comments = True  # type: ignore[attr-defined]
    return wrapper


def apply_context(using: str = "default") -> None:
    """Set the context for the rest of the transaction.

    Args:
        using: Alias of the database. Nothing happens if it is not PostgreSQL.

    Raises:
        NotInTransaction: It was called outside ``transaction.atomic()``.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    if not connection.in_atomic_block:
        raise NotInTransaction
    value = comment.context_setting(context.current())
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.set_config(%s, %s, true)", [CONTEXT_SETTING, value])


def _on_connection_created(connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    install_on(connection)


def _annotate(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, execution: dict[str, Any]
) -> Any:
    try:
        text = sql if isinstance(sql, str) else _text(sql, execution["cursor"])
        if is_write(text):
            if isinstance(sql, bytes):
                recorded = composed_from() or text
            else:
                recorded = sql = text
            mark = comment.context_comment(recorded, context.current())
            if len(execution["connection"].execute_wrappers) > 1:
                execute = _marking_last(mark, execute, execution)
            else:
                sql = _marked(mark, sql)
    except Exception:
        logger.warning("adding the context to a statement failed; it is sent without context", exc_info=True)
    # Outside the try block, so that the statement runs once and its exception reaches the caller.
    return execute(sql, params, many, execution)


def _marked(mark: str, sql: Any) -> Any:
    return mark.encode() + sql if isinstance(sql, bytes) else mark + sql


def _marking_last(mark: str, inner: Callable[..., Any], execution: dict[str, Any]) -> Callable[..., Any]:
    """Return what calls the wrappers after ours, and puts the comment before the statement that they send.

    They may take the statement apart, and would take the comment for its first words. They may make bytes of
    it, or an object of the driver's module ``sql``.
    """
    wrappers = execution["connection"].execute_wrappers
    # Django nests them around what runs the statement, which need not be a method of the cursor.
    behind = []
    for wrapper in wrappers[wrappers.index(_annotate) + 1 :]:
        if not (isinstance(inner, partial) and inner.func == wrapper and len(inner.args) == 1):
            break
        behind.append(wrapper)
        (inner,) = inner.args
    seeing = [wrapper for wrapper in behind if getattr(wrapper, "sees_comments", None) is True]
    run = _nested(seeing, inner)

    def execute(sql: Any, *others: Any) -> Any:
        try:
            if not isinstance(sql, (str, bytes)):
                sql = _text(sql, execution["cursor"]) or sql
            sql = _marked(mark, sql)
        except Exception:
            logger.warning("a statement that another wrapper made is sent without context", exc_info=True)
        return run(sql, *others)

    return _nested([wrapper for wrapper in behind if wrapper not in seeing], execute)


def _nested(wrappers: Sequence[Callable[..., Any]], inner: Callable[..., Any]) -> Callable[..., Any]:
    for wrapper in reversed(wrappers):
        inner = partial(wrapper, inner)
    return inner


def _text(sql: Any, cursor: Any) -> str:
    """Return the text of a statement, or nothing for a type that only the driver can reject."""
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    if not hasattr(sql, "as_string"):
        return ""
    return str(sql.as_string(getattr(cursor, "cursor", cursor)))
