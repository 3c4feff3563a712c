"""The names of the public API that need a driver or a framework only when they are called."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from bemi_django.capture import context
from bemi_django.wire.defaults import EXCLUDE, INCLUDE, PUBLICATION


def apply_context(using: str = "default") -> None:
    """Set the context for the rest of the Django transaction, for ``SELECT fn()`` and driver COPY.

    Raises NotInTransaction outside ``transaction.atomic()``.
    """
    from bemi_django.capture.hooks import django_db

    django_db.apply_context(using)


class Bemi:
    """The facade under which SQLAlchemy projects know this package; it needs no Django settings."""

    @staticmethod
    def set_context(values: Mapping[str, Any]) -> None:
        """Replace the context of this thread or task, and hook every SQLAlchemy engine of the process.

        See :func:`bemi_django.set_context`, which hooks none.
        """
        context.set_context(values)
        hook_every_engine()

    @staticmethod
    def migration_upgrade(
        *,
        include: Iterable[str] = INCLUDE,
        exclude: Iterable[str] = EXCLUDE,
        publication: str = PUBLICATION,
    ) -> None:
        """Install capture, in the ``upgrade()`` of an Alembic revision, and track the tables that are there.

        Patterns are ``schema.table`` with ``*`` and ``?``. Called again, in a later revision, it tracks
        what has come since; the worker's ``bemi sync`` and, where the role may have one, an event
        trigger do so too.
        """
        from bemi_django.integrations import alembic

        alembic.upgrade(include, exclude, publication)

    @staticmethod
    def migration_downgrade(*, publication: str = PUBLICATION) -> None:
        """Undo :meth:`migration_upgrade`, in the ``downgrade()`` of a revision."""
        from bemi_django.integrations import alembic

        alembic.downgrade(publication)


def hook_every_engine() -> None:
    """Give the writes of every SQLAlchemy engine the context, where SQLAlchemy is installed."""
    if _has_sqlalchemy():
        from bemi_django.capture.hooks import every_engine

        every_engine.install()


@cache
def _has_sqlalchemy() -> bool:
    return importlib.util.find_spec("sqlalchemy") is not None
