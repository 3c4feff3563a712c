"""Writes that bypass the ORM: SQLAlchemy's unit of work on Django's connection, by aldjemy."""

from __future__ import annotations

import importlib
from typing import Any, cast

from django.apps import apps
from django.db import transaction

from sample_project.todos.models import Todo


class AldjemyMissingError(Exception):
    """Renaming needs SQLAlchemy 1.4: install the extra "aldjemy"."""

    def __str__(self) -> str:
        return type(self).__doc__ or ""


def rename(pk: int, task: str) -> None:
    """Change the task of the todo *pk*, which must exist."""
    if not apps.is_installed("aldjemy"):
        raise AldjemyMissingError
    session = importlib.import_module("aldjemy.session").get_session()
    mapped = cast("Any", Todo).sa
    # aldjemy turns the session's own commit into a no-op: the transaction is Django's.
    try:
        with transaction.atomic():
            session.query(mapped).filter(mapped.id == pk).one().task = task
            session.flush()
    finally:
        session.close()
