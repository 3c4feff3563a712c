"""Functions of the public API that import a driver or a framework only when they are called."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from bemi_django.capture import context
from bemi_django.wire.defaults import PUBLICATION


def apply_context(using: str = "default") -> None:
    """Set the context for the rest of the Django transaction.

    Call it before writes that cannot carry a comment: ``SELECT fn()`` and the driver's own COPY.

    Args:
        using: Alias of the database.

    Raises:
        NotInTransaction: It was called outside ``transaction.atomic()``.
    """
    from bemi_django.capture.hooks import django_db

    django_db.apply_context(using)


class Bemi:
    """Facade for SQLAlchemy projects. It needs no Django settings."""

    @staticmethod
    def set_context(values: Mapping[str, Any]) -> None:
        """Replace the context of this thread or task, and hook every SQLAlchemy engine of the process.

        :func:`bemi_django.set_context` does the same without hooking any engine.

        Args:
            values: The new context, as for :func:`bemi_django.set_context`.
        """
        context.set_context(values)
        hook_every_engine()

    @staticmethod
    def migration_upgrade(
        *,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] = (),
        publication: str = PUBLICATION,
        log: bool = True,
    ) -> None:
        """Install capture and the log, and track the tables, in the ``upgrade()`` of an Alembic revision.

        The log is the table ``changes``, or what ``BEMI_TABLE`` in the environment or ``table`` in
        ``[tool.bemi]`` of ``pyproject.toml`` says.

        A call in a later revision tracks the tables created since then. So do the worker's
        ``bemi sync`` and, if the role may create one, an event trigger.

        Args:
            include: Patterns ``schema.table`` of the tables to track, with the wildcards ``*`` and ``?``; by
                default all tables of the schemas in the connection's ``search_path``.
            exclude: Patterns of the tables not to track, beside those that are never worth it; they take
                precedence.
            publication: Name of the publication.
            log: Whether this database holds the log; False if ``bemi run`` has another ``--destination``.
        """
        from bemi_django.integrations import alembic

        alembic.upgrade(include, exclude, publication, log)

    @staticmethod
    def migration_downgrade() -> None:
        """Undo :meth:`migration_upgrade`, in the ``downgrade()`` of a revision.

        A log with rows is kept, and a database that a Django project has migrated as well is left as it is.
        What is left, and how to remove it, is logged.
        """
        from bemi_django.integrations import alembic

        alembic.downgrade()


def hook_every_engine() -> None:
    """Attach the context to the writes of every SQLAlchemy engine, if SQLAlchemy is installed."""
    if _has_sqlalchemy():
        from bemi_django.capture.hooks import every_engine

        every_engine.install()


@cache
def _has_sqlalchemy() -> bool:
    return importlib.util.find_spec("sqlalchemy") is not None
