"""The changes that gave one column of an object its values, whatever it was called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Q

from bemi_django.admin.display.value_diff import are_alike
from bemi_django.admin.pages.history.subject import HistorySubject
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.conditions import Differs, HasKey, changed
from bemi_django.models import Change


class ColumnChanges:
    """The changes of a column.

    Args:
        subject: The object.
        column: The present name of the column, or the last one of a column that was dropped.
    """

    def __init__(self, subject: HistorySubject, column: str) -> None:
        self._models = subject.viewer.logged_models
        self._column = column
        self._names = self._models.former_names(subject.model, column)
        condition = Q(pk__in=[])
        for name in sorted(self._names):
            condition |= Q(HasKey("after", name), Differs(name))
            condition |= Q(HasKey("before", name), operation="DELETE")
            condition |= Q(~Q(HasKey("after", name)), changed([name]))
        #: Those that gave a column with one of its names a value, or took it away with the row.
        self.found: ChangeQuerySet = subject.changes().filter(condition)

    def has(self, change: Change) -> bool:
        """Tell whether one of those found is of this column: others have, or had, one of its names."""
        row, name = {**change.before, **change.after}, self.name_in(change)
        if name is None:
            names = self._models.names_in(change)
            unseen = map(names.now, (change.unavailable or {}).get("changed", ()))
            return self._column in names.untold or self._column in unseen
        is_only = not self._names & row.keys() - {name}
        both = change.before.get(name), change.after.get(name)
        return is_only or change.operation != "UPDATE" or not are_alike(*both)

    def name_in(self, change: Change) -> str | None:
        """Return what the column was called in a change, or None if the change does not have it."""
        names = self._models.names_in(change)
        return names.then(self._column, {**change.before, **change.after})

    def value_in(self, change: Change, row: Mapping[str, Any]) -> Any:
        """Return the value of the column in a row of a change, or None."""
        name = self.name_in(change)
        return None if name is None else row.get(name)
