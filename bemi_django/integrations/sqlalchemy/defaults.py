"""The values that Django writes to columns that were not given one."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from django.db.models import NOT_PROVIDED
from sqlalchemy import FetchedValue

from bemi_django.log.values.renewed_fields import is_renewed


def column_defaults(field: Any) -> dict[str, Any]:
    """Return the arguments of ``Column`` that give a column the defaults of its field.

    They apply to the ORM and to inserts and updates in Core.

    Args:
        field: A Django field.

    Returns:
        ``default``, ``onupdate``, ``server_default`` and ``server_onupdate``, as far as the field has them.
    """
    if getattr(field, "generated", False):
        return {"server_default": FetchedValue(), "server_onupdate": FetchedValue()}
    found: dict[str, Any] = {"default": _on_insert(field)}
    if is_renewed(field):
        found["onupdate"] = lambda: field.pre_save(SimpleNamespace(), False)
    if getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED:
        found["server_default"] = FetchedValue()
    return {name: value for name, value in found.items() if value is not None}


def _on_insert(field: Any) -> Callable[[], Any] | None:
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return lambda: field.pre_save(SimpleNamespace(), True)
    if field.has_default():
        return lambda: field.get_default()
    if field.primary_key or field.null or getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED:
        return None
    # Django writes an empty string if no text was given.
    return (lambda: field.get_default()) if field.empty_strings_allowed else None
