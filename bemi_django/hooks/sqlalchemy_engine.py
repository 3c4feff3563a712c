"""Annotate the writes of SQLAlchemy engines."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import event

from bemi_django import comment, context

logger = logging.getLogger(__name__)

_EVENT = "before_cursor_execute"


def install(engine: Any) -> None:
    """Give every write on this Engine or AsyncEngine the context in force; harmless when repeated."""
    engine = getattr(engine, "sync_engine", engine)
    if engine.dialect.name == "postgresql" and not event.contains(engine, _EVENT, _annotate):
        event.listen(engine, _EVENT, _annotate, retval=True)


def uninstall(engine: Any) -> None:
    """Undo :func:`install`; harmless when there is nothing to undo."""
    engine = getattr(engine, "sync_engine", engine)
    if event.contains(engine, _EVENT, _annotate):
        event.remove(engine, _EVENT, _annotate)


def _annotate(
    connection: Any, cursor: Any, statement: str, parameters: Any, execution: Any, executemany: bool
) -> tuple[str, Any]:
    try:
        if comment.is_write(statement):
            statement = comment.prefix(statement, context.current()) + statement
    except Exception:
        logger.warning("a write has no context: annotating it failed", exc_info=True)
    return statement, parameters
