"""Tell which columns a user may not write, because the model's admin makes them read-only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models

from bemi_django.admin.access.viewer import Viewer
from bemi_django.log.belongings import field_of_table


class EditableFields:
    """The fields that a user could edit in the forms of the admin site.

    The forms of the ``ModelAdmin`` decide: ``readonly_fields``, ``fields``, ``fieldsets``, ``exclude``, and
    fields that its form disables. Columns that no form has because of the model itself (``editable=False``,
    ``auto_now``, an automatic key) are not restricted, nor are models without a ``ModelAdmin``.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._forms: dict[tuple[type[models.Model], Any, bool], set[str]] = {}

    def is_readonly(
        self,
        model: type[models.Model],
        action: str,
        column: str,
        values: Mapping[str, Any],
        instance: models.Model | None,
    ) -> bool:
        """Tell whether the user could not write a column of a row in the admin.

        Args:
            model: The model of the row.
            action: ``insert``, ``update`` or ``delete``.
            column: The column.
            values: The values to write, by column.
            instance: The live row, if there is one.
        """
        owner: Any = model._meta.auto_created
        if owner:
            return not self._may_edit_relation(owner, model)
        if action == "delete" or model not in self._viewer.site._registry:
            return False
        field: Any = next((f for f in model._meta.concrete_fields if f.column == column), None)
        if field is None or not field.editable or isinstance(field, models.AutoField):
            return False
        if action == "insert" and _is_default(field, values.get(column)):
            return False
        names = self._names(model, instance, is_change=True)
        return field.name not in names and not (
            action == "insert" and field.name in self._names(model, None, is_change=False)
        )

    def may_delete_relation(self, model: type[models.Model]) -> bool:
        """Tell whether the user may delete rows of a many-to-many table, if the model is one."""
        owner: Any = model._meta.auto_created
        return not owner or self._may_edit_relation(owner, model)

    def _may_edit_relation(self, owner: type[models.Model], through: type[models.Model]) -> bool:
        """Tell whether the form of the owner has the field of a many-to-many table."""
        if owner not in self._viewer.site._registry:
            return True
        field = field_of_table(through)
        return field is None or field.name in self._names(owner, None, is_change=True)

    def _names(
        self, model: type[models.Model], instance: models.Model | None, *, is_change: bool
    ) -> set[str]:
        key = (model, None if instance is None else instance.pk, is_change)
        if key not in self._forms:
            self._forms[key] = self._form_names(model, instance, is_change=is_change)
        return self._forms[key]

    def _form_names(
        self, model: type[models.Model], instance: models.Model | None, *, is_change: bool
    ) -> set[str]:
        model_admin = self._viewer.site._registry[model]
        try:
            form: Any = model_admin.get_form(self._viewer.request, instance, change=is_change)
            readonly = set(model_admin.get_readonly_fields(self._viewer.request, instance))
        except Exception:
            # Code of the project that expects another object. No field is known to be editable.
            return set()
        fields = form.base_fields.items()
        return {name for name, field in fields if not field.disabled and name not in readonly}


def _is_default(field: Any, value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(field.has_default() and field.to_python(value) == field.get_default())
    except Exception:
        # A value of another time, which the field does not accept any more.
        return False
