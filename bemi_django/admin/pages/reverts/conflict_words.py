"""Say why a row cannot be reverted, with names and values as people know them, behind their masks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.utils.translation import gettext as _

from bemi_django.admin.access.logged_models import LoggedModel
from bemi_django.admin.access.masks import MASK
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.values.formatter import Formatter
from bemi_django.admin.display.values.text_lists import comma_list
from bemi_django.admin.search.change_reader import prune
from bemi_django.log.live.live_tables import Name
from bemi_django.revert.plan import Conflict
from bemi_django.revert.wording import StoredNames

#: The number of characters of a value that fit in a sentence.
_CHARACTERS = 40


class KnownNames:
    """The names and values of a row, as a user knows them.

    Args:
        viewer: The user.
        formatter: Shows values.
        database: The database of the row.
        name: The table of the row.
        encrypted: Columns whose values the user may not see, whatever the masks are.
    """

    def __init__(
        self, viewer: Viewer, formatter: Formatter, database: str, name: Name, encrypted: Collection[str]
    ) -> None:
        self._viewer = viewer
        self._formatter = formatter
        self._database = database
        self._name = name
        self._encrypted = encrypted
        self._logged = viewer.logged_models.model_at(database, *name)

    def column(self, name: str) -> str:
        """Return the name of a column's field."""
        return self._formatter.name(self._logged, name)

    def table(self, name: Name) -> str:
        """Return the name of a table's model, or the table."""
        logged = self._viewer.logged_models.model_at(self._database, *name)
        return str(logged.model._meta.verbose_name) if logged else ".".join(name)

    def value(self, column: str, value: Any) -> str:
        """Return a value as pages show it, or the mask."""
        is_hidden = value is not None and self.hide(column)
        shown = MASK if is_hidden else prune({column: value})[column]
        return self._formatter.show(self._logged, column, shown).within(_CHARACTERS)

    def hide(self, column: str) -> bool:
        """Tell whether the values of a column are masked."""
        return column in self._encrypted or self._viewer.masks.hide_column(*self._name, column)

    def learn(self, conflict: Conflict | None) -> None:
        """Let the formatter take note of the rows that the values of a conflict refer to."""
        if conflict is not None and conflict.sentence is not None:
            conflict.sentence(_Learned(self._formatter, self._logged))


class _Learned(StoredNames):
    """Take note of the values of a sentence."""

    def __init__(self, formatter: Formatter, logged: LoggedModel | None) -> None:
        self._formatter = formatter
        self._logged = logged

    def value(self, column: str, value: Any) -> str:
        self._formatter.learn(self._logged, {column: value})
        return ""


def hides_errors(viewer: Viewer) -> bool:
    """Return whether what the database says is hidden from a user.

    It may have values of any row, also of tables that a trigger writes to.
    """
    return bool(viewer.masks) or viewer.is_scoped


def conflict_text(conflict: Conflict, names: KnownNames, *, is_hidden: bool) -> str:
    """Return why a row cannot be reverted.

    Args:
        conflict: The conflict.
        names: The names and values of its row.
        is_hidden: Whether the row has masked values.
    """
    is_seen = not is_hidden or not all(map(names.hide, conflict.columns))
    if conflict.sentence is not None and conflict.kind == "changed_since" and is_seen:
        return conflict.sentence(names)
    general = _general().get(conflict.kind, "")
    # What the server says contains values, and others tell that two of them are equal.
    if conflict.kind == "read_only" or general and is_hidden:
        concerned = comma_list(map(names.column, conflict.columns))
        return f"{general}: {concerned}" if concerned else general
    if conflict.sentence is None:
        # What the server says is in its own language.
        return f"{general} ({conflict.text})" if general else conflict.text
    return conflict.sentence(names)


def _general() -> dict[str, str]:
    return {
        "changed_since": _("the row was changed since"),
        "missing_row": _("the row no longer exists"),
        "key_taken": _("another row has the key of the row"),
        "unique": _("another row has a value that must be unique"),
        "missing_parent": _("the row refers to one that no longer exists"),
        "referenced": _("other rows refer to the row"),
        "unavailable": _("the log does not know a value"),
        "missing_table": _("the table no longer exists"),
        "cycle": _("rows refer to each other, and no order of statements works"),
        "constraint": _("a constraint is violated"),
        "refused": _("the database refuses the change"),
        "read_only": _("you may not edit these fields in the admin"),
        "not_a_row": _("this is not a change of a row"),
    }
