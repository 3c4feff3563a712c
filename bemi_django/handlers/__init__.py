"""Functions that are told of committed changes: what they are, and what calls them."""

from __future__ import annotations

from bemi_django.handlers.registry import MODULE, Handler, of_database, on_change

__all__ = ["MODULE", "Handler", "of_database", "on_change"]
