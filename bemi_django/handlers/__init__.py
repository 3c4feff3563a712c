"""Handlers: functions that are called with committed changes."""

from __future__ import annotations

from bemi_django.handlers.registry import MODULE, Handler, of_database, on_change

__all__ = ["MODULE", "Handler", "of_database", "on_change"]
