"""Decide which columns of a table a revert puts back, and which ones it sets to the present."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from django.db import models
from django.utils import timezone

from bemi_django.log.keys import json_of
from bemi_django.log.live.live_tables import LiveTable
from bemi_django.log.values.renewed_fields import is_renewed


class ColumnRules(NamedTuple):
    """How a revert treats the columns of a table.

    Attributes:
        present: Columns that the model sets to the present whenever it is saved (``auto_now``), with their
            values as of now. They tell when the row was written last, so they are not put back and are no
            conflict; every row that is written gets the present values.
        chosen: The columns to put back, or None for all.
    """

    present: Mapping[str, Any] = {}
    chosen: frozenset[str] | None = None

    def puts_back(self, column: str) -> bool:
        """Tell whether a column gets its previous value."""
        return column not in self.present and (self.chosen is None or column in self.chosen)


def rules_of(
    model: type[models.Model] | None, table: LiveTable, fields: Collection[str] | None
) -> ColumnRules:
    """Return the rules for a table.

    Args:
        model: The model of the table, or None.
        table: The table.
        fields: Names of fields or columns to put back, or None for all.
    """
    own = list(model._meta.local_concrete_fields) if model is not None else []
    present = {
        str(field.column): json_of(field, _now(field))
        for field in own
        if is_renewed(field) and field.column in table.columns
    }
    # A key is what identifies the row.
    present = {column: value for column, value in present.items() if column not in table.key}
    if fields is None:
        return ColumnRules(present)
    names = {name: str(field.column) for field in own for name in (field.name, field.attname)}
    chosen = {names.get(name, name) for name in fields}
    return ColumnRules(present, frozenset(chosen & set(table.columns)))


def _now(field: models.Field[Any, Any]) -> Any:
    """Return the present as Django's fields do."""
    if isinstance(field, models.DateTimeField):
        now = timezone.now()
        return now if timezone.is_aware(now) else timezone.make_aware(now, timezone.get_default_timezone())
    return date.today() if isinstance(field, models.DateField) else datetime.now().time()
