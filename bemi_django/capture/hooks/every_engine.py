"""Attach the context to the writes of every SQLAlchemy engine of the process."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from bemi_django.capture.hooks import sqlalchemy_engine

_EVENT = "engine_connect"


def install() -> None:
    """Install the hook on each PostgreSQL engine at its next connection."""
    if not event.contains(Engine, _EVENT, _on_connect):
        event.listen(Engine, _EVENT, _on_connect)


def uninstall() -> None:
    """Undo :func:`install` for engines that have not connected yet."""
    if event.contains(Engine, _EVENT, _on_connect):
        event.remove(Engine, _EVENT, _on_connect)


def _on_connect(connection: Any, *_: Any) -> None:
    engine = connection.engine
    # An engine made by engine.execution_options() uses the hooks of the original engine.
    while (origin := getattr(engine, "_proxied", None)) is not None:
        engine = origin
    sqlalchemy_engine.install(engine)
