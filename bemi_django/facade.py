"""The names of the public API that need a driver or a framework only when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bemi_django import context


def apply_context(using: str = "default") -> None:
    """Set the context for the rest of the Django transaction, for ``SELECT fn()`` and driver COPY.

    Raises NotInTransaction outside ``transaction.atomic()``.
    """
    from bemi_django.hooks import django_db

    django_db.apply_context(using)


class Bemi:
    """The facade under which SQLAlchemy projects know the context API."""

    @staticmethod
    def set_context(values: Mapping[str, Any]) -> None:
        """Replace the context of this thread or task; see :func:`bemi_django.set_context`."""
        context.set_context(values)
