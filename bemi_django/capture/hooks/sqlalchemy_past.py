"""Make SQLAlchemy engines on Django's connections follow ``as_of()``."""

from __future__ import annotations

from typing import Any

from django.db import connections
from sqlalchemy import event


def follow(engine: Any, alias: str) -> None:
    """Redirect names with a schema while Django's connection is in an ``as_of()`` block.

    Names without a schema need no help: ``as_of()`` redirects them by the ``search_path``.

    Args:
        engine: An Engine that uses the connection.
        alias: Alias of the database.
    """

    def prepare(
        connection: Any, cursor: Any, statement: str, parameters: Any, execution: Any, executemany: bool
    ) -> tuple[str, Any]:
        past: Any = getattr(connections[alias], "bemi_past", None)
        return past.prepared(statement, is_template=True) if past else statement, parameters

    event.listen(engine, "before_cursor_execute", prepare, retval=True)
