"""SQLAlchemy engines on a connection of Django's are in the past when it is."""

from __future__ import annotations

from typing import Any

from django.db import connections
from sqlalchemy import event


def follow(engine: Any, alias: str) -> None:
    """Names with a schema, which no ``search_path`` redirects, follow ``as_of()`` on the connection too."""

    def prepare(
        connection: Any, cursor: Any, statement: str, parameters: Any, execution: Any, executemany: bool
    ) -> tuple[str, Any]:
        past: Any = getattr(connections[alias], "bemi_past", None)
        return past.prepared(statement) if past else statement, parameters

    event.listen(engine, "before_cursor_execute", prepare, retval=True)
