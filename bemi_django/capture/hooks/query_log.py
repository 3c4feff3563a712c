"""Keep the comments that carry contexts out of Django's query log."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django.capture.comment import without_comment


def hide_comments(connection: BaseDatabaseWrapper) -> None:
    """Let a connection log the statements that the application has run, without our comments.

    This covers ``connection.queries``, ``CaptureQueriesContext``, ``assertNumQueries()``, the logger
    ``django.db.backends`` and what else asks ``connection.ops.last_executed_query()``.

    Args:
        connection: A connection of Django's to PostgreSQL.
    """
    as_sent: Any = connection.ops.last_executed_query
    if getattr(as_sent, "hides_comments", False):
        return

    def last_executed_query(cursor: Any, sql: Any, params: Any) -> Any:
        statement = as_sent(cursor, sql, params)
        return without_comment(statement) if isinstance(statement, str) else statement

    vars(last_executed_query)["hides_comments"] = True
    vars(connection.ops)["last_executed_query"] = last_executed_query
