"""Annotate the writes of every SQLAlchemy engine of the process, for those who name none."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from bemi_django.capture.hooks import sqlalchemy_engine

_EVENT = "engine_connect"


def install() -> None:
    """Hook each PostgreSQL engine when it connects next; harmless when repeated."""
    if not event.contains(Engine, _EVENT, _on_connect):
        event.listen(Engine, _EVENT, _on_connect)


def uninstall() -> None:
    """Undo :func:`install` for engines that have not connected yet."""
    if event.contains(Engine, _EVENT, _on_connect):
        event.remove(Engine, _EVENT, _on_connect)


def _on_connect(connection: Any, *_: Any) -> None:
    engine = connection.engine
    # What engine.execution_options() returns has the hooks of the engine that it was made of.
    while (origin := getattr(engine, "_proxied", None)) is not None:
        engine = origin
    sqlalchemy_engine.install(engine)
