"""The many-to-many fields of an object in the plan of a revert: their members now, and after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.foreign_keys import referred_labels
from bemi_django.admin.display.values.formatter import Formatter, ShownPair
from bemi_django.admin.display.values.shown_value import shown
from bemi_django.admin.display.values.text_lists import comma_list
from bemi_django.log.belongings import field_of_table
from bemi_django.log.keys import json_of
from bemi_django.log.places import rows_of
from bemi_django.models import Change
from bemi_django.revert import Step

#: Members that are named. Of more, only the number is told.
_NAMED = 200


class RevertMembers:
    """The steps that write rows of many-to-many fields, by field."""

    def __init__(self, viewer: Viewer, change: Change, steps: Iterable[Step]) -> None:
        self._viewer = viewer
        self._change = change
        self.steps: dict[Any, list[Step]] = {}
        for step in steps:
            logged = self._model_of(step)
            field = field_of_table(logged.model) if logged is not None else None
            if field is not None:
                self.steps.setdefault(field, []).append(step)

    def pair(self, field: Any) -> ShownPair:
        """Return the present members of a field, and those after it; of hidden or many ones their numbers."""
        steps = self.steps[field]
        logged = self._model_of(steps[0])
        if logged is None:
            return ShownPair(None, None, None)
        through: Any = logged.model._meta
        member = through.get_field(field.m2m_reverse_field_name())
        sides = list(self._members(field, logged, member, steps))
        hidden = self._viewer.masks.hidden_fields(logged.model)
        is_hidden = member.column in hidden or not self._viewer.may("view", field.related_model)
        if is_hidden or any(len(values) > _NAMED for values in sides):
            now, then = (shown(None, len(values)) for values in sides)
            return ShownPair(now, then, None)
        found = (referred_labels(self._viewer, member, logged.alias, values) for values in sides)
        texts = [comma_list(sorted(labels)) or None for labels in found]
        return Formatter(self._viewer).pair(None, field.name, *texts)

    def _members(
        self, field: Any, logged: LoggedModel, member: Any, steps: Sequence[Step]
    ) -> Iterable[list[Any]]:
        """Yield the present members' values of the foreign key, and those after the steps."""
        through: Any = logged.model._meta
        own = through.get_field(field.m2m_field_name())
        owners = [
            (step.values if step.action == "insert" else step.current or {}).get(own.column) for step in steps
        ]
        # A symmetrical field also has the rows of the others.
        owner = next((each for each in owners if str(each) == self._change.primary_key), owners[0])
        rows = rows_of(logged.model, logged.alias).filter(**{own.attname: owner})
        found = rows.values_list("pk", member.attname)
        present = {str(key): json_of(member, value) for key, value in found}
        gone = {step.primary_key for step in steps if step.action == "delete"}
        added = [
            step.values[member.column]
            for step, each in zip(steps, owners, strict=True)
            if step.action == "insert" and each == owner and member.column in step.values
        ]
        yield list(present.values())
        yield [*(value for key, value in present.items() if key not in gone), *added]

    def _model_of(self, step: Step) -> LoggedModel | None:
        return self._viewer.logged_models.model_at(self._change.database, step.schema, step.table)
