"""Note what a user is shown although it is masked for others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from django.db import models

from bemi_django.admin.access.logged_models import LoggedModels
from bemi_django.admin.access.masks import MASK, Masks
from bemi_django.admin.access.own_events import Unmasked
from bemi_django.log.keys import key_fields, key_of
from bemi_django.log.places import Place
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.models import Change
from bemi_django.wire import INVALID_KEY, SQL_KEY


class LiftedMasks:
    """The masks that the permission of a user lifts. Without any, only what was decrypted is noted.

    Args:
        masks: The masks of others, or None.
        logged_models: The models of the project.
        unmasked: What is shown is noted here.
    """

    def __init__(self, masks: Masks | None, logged_models: LoggedModels, unmasked: Unmasked) -> None:
        self._masks = masks
        self._logged_models = logged_models
        self._unmasked = unmasked

    def __bool__(self) -> bool:
        return self._masks is not None

    def row(self, change: Change, row: Mapping[str, Any], decrypted: frozenset[str] = frozenset()) -> None:
        """Note that a row of a change is shown, with the values of columns that the log has encrypted."""
        hidden = () if self._masks is None else self._masks.hidden(change.schema, change.table, row)
        self._add_columns(change, decrypted.union(name for name in hidden if row[name] is not None))

    def key(self, change: Change) -> None:
        """Note that the key of a change is shown."""
        if self._masks is None or change.primary_key is None or not self._masks.hide_key(change):
            return
        hidden = self._masks.hidden(change.schema, change.table, {*change.before, *change.after})
        logged = self._logged_models.model_of(change)
        columns = {str(field.column) for field in key_fields(logged.model)} if logged else hidden
        self._add_columns(change, hidden & columns or hidden)

    def column(
        self, place: Place, column: str, key: str | None, *, is_hidden_key: bool, is_decrypted: bool
    ) -> None:
        """Note that a value of a column is shown, of the row with a key."""
        if is_decrypted or (
            self._masks is not None and self._masks.hide_column(place.schema, place.table, column)
        ):
            self._unmasked.add(place.schema, place.table, {column}, None if is_hidden_key else key)

    def learn_keys(self, places: Iterable[Place]) -> None:
        """Find out for several tables at once whether their primary keys are masked for others."""
        if self._masks is not None:
            self._masks.learn_keys(places)

    def hides_key(self, changes: Iterable[Change]) -> bool:
        """Tell whether the key of one of some changes is masked for others."""
        return self._masks is not None and any(map(self._masks.hide_key, changes))

    def hidden_fields(self, model: type[models.Model]) -> frozenset[str]:
        """Return the columns of a model that are masked for others."""
        return frozenset() if self._masks is None else self._masks.hidden_fields(model)

    def field(self, model: type[models.Model], column: str, key: str | None) -> None:
        """Note that a value of a model's column is shown, of the row with a key."""
        if column in self.hidden_fields(model):
            place = self._logged_models.places()[model._meta.concrete_model or model]
            hides = self._masks is not None and self._masks.hide_model_key(model)
            self._unmasked.add(place.schema, place.table, {column}, None if hides else key)

    def label(self, instance: models.Model, text: str, shown: int) -> None:
        """Note the values of a row that its label shows, of whose characters only the first are shown."""
        hidden = self.hidden_fields(type(instance))
        for field in instance._meta.concrete_fields if hidden else ():
            value = instance.__dict__.get(field.attname)
            if field.column not in hidden or value in (None, ""):
                continue
            # Of a value that begins within them, at least a part is shown.
            if str(value) in text[: shown - 1 + len(str(value))]:
                self.field(type(instance), str(field.column), key_of(instance))

    def context(self, context: Mapping[str, Any]) -> None:
        """Note that a context is shown, or a part of one."""
        if self._masks is None:
            return
        hidden = set(self._masks.hidden_in_context(dict(context))) - {SQL_KEY, INVALID_KEY}
        shown = {name for name in hidden if context[name] is not None}
        if INVALID_KEY in context:
            shown.add(INVALID_KEY)
        statement = str(context.get(SQL_KEY, ""))
        # For others, literals and comments are left out: most statements of an ORM have none.
        if self._masks.mentions_hidden_table(statement) and redact_literals(statement, MASK) != statement:
            shown.add(SQL_KEY)
        self._unmasked.add_context(shown)

    def context_keys(self, *names: str) -> None:
        """Note that values of contexts under some keys are shown."""
        if self._masks is not None:
            self._unmasked.add_context({name for name in names if self._masks.hide_context_key(name)})

    def _add_columns(self, change: Change, columns: Set[str]) -> None:
        if columns:
            key = None if self.hides_key([change]) else change.primary_key
            self._unmasked.add(change.schema, change.table, {*columns}, key)
