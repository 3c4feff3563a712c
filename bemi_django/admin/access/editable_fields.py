"""Tell which columns a user may not write, because the model's admin makes them read-only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from bemi_django.admin.access.viewer import Viewer


def readonly_columns(
    viewer: Viewer,
    model: type[models.Model],
    action: str,
    values: Mapping[str, Any],
    instance: models.Model | None,
) -> set[str]:
    """Return those of the columns to write that the user could not edit in the admin.

    The forms of the ``ModelAdmin`` decide: ``readonly_fields``, ``fields``, ``fieldsets``, ``exclude``, and
    fields that its form disables. Columns that no form has because of the model itself (``editable=False``,
    ``auto_now``, an automatic key) are not restricted, nor are models without a ``ModelAdmin``.

    Args:
        viewer: The user.
        model: The model of the row.
        action: ``insert``, ``update`` or ``delete``.
        values: The values to write, by column.
        instance: The live row, if there is one.
    """
    owner = cast("type[models.Model] | None", model._meta.auto_created or None)
    if owner is not None:
        return _readonly_relation(viewer, owner, model, values)
    if action == "delete" or model not in viewer.site._registry:
        return set()
    names = _form_fields(viewer, model, instance, is_change=True)
    if action == "insert":
        names |= _form_fields(viewer, model, None, is_change=False)
    fields: Iterable[Any] = model._meta.concrete_fields
    return {
        field.column
        for field in fields
        if field.column in values
        and field.name not in names
        and field.editable
        and not isinstance(field, models.AutoField)
        and not (action == "insert" and _is_default(field, values[field.column]))
    }


def _readonly_relation(
    viewer: Viewer, owner: type[models.Model], through: type[models.Model], values: Mapping[str, Any]
) -> set[str]:
    """Return the columns of a many-to-many table whose field is not in the form of its model."""
    if owner not in viewer.site._registry:
        return set()
    names = _form_fields(viewer, owner, None, is_change=True)
    field = next((f for f in owner._meta.local_many_to_many if f.remote_field.through is through), None)
    if field is None or field.name in names:
        return set()
    return set(values) or {field.m2m_column_name(), field.m2m_reverse_name()}


def _form_fields(
    viewer: Viewer, model: type[models.Model], instance: models.Model | None, *, is_change: bool
) -> set[str]:
    model_admin = viewer.site._registry[model]
    try:
        form: Any = model_admin.get_form(viewer.request, instance, change=is_change)
        readonly = set(model_admin.get_readonly_fields(viewer.request, instance))
    except Exception:
        # Code of the project that expects something else of an object; nothing is known to be editable.
        return set()
    return {name for name, field in form.base_fields.items() if not field.disabled and name not in readonly}


def _is_default(field: Any, value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(field.has_default() and field.to_python(value) == field.get_default())
    except (FieldDoesNotExist, TypeError, ValueError):
        return False
