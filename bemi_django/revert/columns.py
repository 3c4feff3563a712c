"""Decide which columns of a table a revert puts back, and which ones it goes on with as a save does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from django.db import models
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from bemi_django import selection
from bemi_django.log.belongings import field_of_table
from bemi_django.log.keys import json_of
from bemi_django.log.live.kept_columns import Kept
from bemi_django.log.live.live_tables import LiveTable, RowValues
from bemi_django.log.lossless_json import loads
from bemi_django.log.printing import json_text
from bemi_django.log.values.mapped_versions import mapped_versions
from bemi_django.log.values.renewed_fields import is_renewed
from bemi_django.log.values.saved_fields import is_counted, next_value

#: Returns what a save writes to a column, from the value that the row has.
Save = Callable[[Any], Any]


class ColumnRules(NamedTuple):
    """How a revert treats the columns of a table.

    Attributes:
        saved: Columns that a save sets itself: the present (``auto_now``), or the next version. They tell
            when or how often the row was written, so they are not put back and are no conflict; every row
            that is written gets what a save would give it.
        kept: Columns that a trigger of the table sets at every update. They are no conflict either, and an
            update leaves them to the trigger.
        chosen: The columns to put back, or None for all.
        reacting: Columns that a trigger sets at updates of others, with these.
    """

    saved: Mapping[str, Save] = {}
    kept: frozenset[str] = frozenset()
    chosen: frozenset[str] | None = None
    reacting: Kept = {}

    def at_update_of(self, columns: Iterable[str]) -> ColumnRules:
        """Return the rules for a row of which these columns are put back: triggers may react to them."""
        # What a save sets is in each UPDATE, too.
        written = {*self.saved, *filter(self.puts_back, columns)}
        return self._replace(kept=self.kept.union(one for one, of in self.reacting.items() if of & written))

    def is_of_saves(self, column: str) -> bool:
        """Tell whether a column gets another value whenever the row is written."""
        return column in self.saved or column in self.kept

    def puts_back(self, column: str) -> bool:
        """Tell whether a column gets its previous value."""
        return not self.is_of_saves(column) and (self.chosen is None or column in self.chosen)

    def values(self, row: Mapping[str, Any]) -> RowValues:
        """Return what a save writes to these columns of a row, as far as that is known."""
        found = {column: save(row.get(column)) for column, save in self.saved.items()}
        return {column: value for column, value in found.items() if value is not None}


def rules_of(
    model: type[models.Model] | None,
    table: LiveTable,
    fields: Collection[str] | None,
    kept: Kept | None = None,
) -> ColumnRules:
    """Return the rules for a table.

    Args:
        model: The model of the table, or None.
        table: The table.
        fields: Names of fields or columns to put back, or None for all.
        kept: Columns that triggers of the table set.
    """
    own = list(model._meta.local_concrete_fields) if model is not None else []
    patterns = selection.version_columns()
    # A key is what identifies the row.
    columns = [column for column in table.columns if column not in table.key]
    reacting = {column: named for column, named in (kept or {}).items() if column in columns}
    always = frozenset(column for column, named in reacting.items() if not named)
    saved: dict[str, Save] = {
        column: _go_on
        for column in columns
        if any(pattern.matches(*table.name, column) for pattern in patterns)
    }
    for column, generator in mapped_versions(*table.name).items():
        if column in columns:
            saved[column] = partial(_generated, generator)
    for field in own:
        if field.column in columns and (save := _save_of(field)) is not None:
            saved[str(field.column)] = save
    saved = {column: save for column, save in saved.items() if column not in always}
    if fields is None or member_name(model) in fields:
        return ColumnRules(saved, always, reacting=reacting)
    names = {name: str(field.column) for field in own for name in (field.name, field.attname)}
    chosen = {names.get(name, name) for name in fields}
    return ColumnRules(saved, always, frozenset(chosen & set(table.columns)), reacting)


def _save_of(field: models.Field[Any, Any]) -> Save | None:
    if is_renewed(field):
        return partial(_renewed, field)
    return partial(_counted, field) if is_counted(field) else None


def _renewed(field: models.Field[Any, Any], _: Any) -> Any:
    return json_of(field, _now(field))


def _counted(field: models.Field[Any, Any], value: Any) -> Any:
    old = field.get_default() if value is None else field.to_python(value)
    return None if old is None else json_of(field, next_value(field, old))


def _generated(generator: Any, value: Any) -> Any:
    """Return what a generator of SQLAlchemy makes of a version, if it takes one as JSON has it."""
    try:
        new = loads(json_text(generator(value)))
    except Exception:
        return _go_on(value)
    return _go_on(value) if new in (value, "None") else new


def _go_on(value: Any) -> Any:
    """Return what follows the value of a column of which nothing else is known than that it is a version."""
    if type(value) is int:
        return value + 1
    if not isinstance(value, str):
        return value
    try:
        UUID(value)
    except ValueError:
        return _moment(value)
    return str(uuid4())


def _moment(value: str) -> str:
    """Return the present in the form of a moment or a day, or a text as it is."""
    try:
        if parse_date(value):
            return timezone.now().date().isoformat()
        return timezone.now().isoformat() if parse_datetime(value) else value
    except ValueError:
        return value


def member_name(model: type[models.Model] | None) -> str | None:
    """Return the name of the many-to-many field whose rows a table has, or None."""
    field = field_of_table(model)
    return field.name if field is not None else None


def member_names(found: Iterable[type[models.Model] | None]) -> set[str]:
    """Return the names of the many-to-many fields of models, and of those whose rows their tables have."""
    own = {field.name for model in found if model is not None for field in model._meta.many_to_many}
    return own | {name for model in found if (name := member_name(model)) is not None}


def _now(field: models.Field[Any, Any]) -> Any:
    """Return the present as Django's fields do."""
    if isinstance(field, models.DateTimeField):
        now = timezone.now()
        return now if timezone.is_aware(now) else timezone.make_aware(now, timezone.get_default_timezone())
    return date.today() if isinstance(field, models.DateField) else datetime.now().time()
