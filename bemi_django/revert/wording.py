"""What is said about conflicts, with names and values as the log has them or as people know them.

Each function returns a sentence that is still to be given its names: ``sentence(StoredNames())``. It is in
the language that is active then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from django.utils.text import get_text_list
from django.utils.translation import gettext as _

from bemi_django.log.live.live_tables import Name
from bemi_django.log.lossless_json import dumps

_LONGEST = 40


class ConflictNames(Protocol):
    """How the columns and tables of a sentence are called, and how values are shown."""

    def column(self, name: str) -> str:
        """Return what a column is called."""

    def table(self, name: Name) -> str:
        """Return what a table is called."""

    def value(self, column: str, value: Any) -> str:
        """Return a value of a column in a few characters."""


Sentence = Callable[[ConflictNames], str]


class StoredNames:
    """ConflictNames and values as the log has them."""

    def column(self, name: str) -> str:
        """Return the column."""
        return name

    def table(self, name: Name) -> str:
        """Return the schema and the table."""
        return ".".join(name)

    def value(self, column: str, value: Any) -> str:
        """Return the value as JSON, cut if it is long."""
        text = dumps(value)
        return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _listed(columns: Sequence[str], names: ConflictNames) -> str:
    return str(get_text_list([names.column(column) for column in columns], _("and")))


def no_row(operation: str) -> Sentence:
    """Return why a change that is not of a row cannot be reverted."""

    def said(names: ConflictNames) -> str:
        reasons = {
            "TRUNCATE": _("the log does not have the rows that a TRUNCATE removed"),
            "GAP": _("changes were lost here"),
            "BASELINE": _("a BASELINE has changed nothing: the row was there before"),
            "EVENT": _("an event has changed nothing"),
            "SKIPPED": _("these changes were excluded from the log"),
            "ERASED": _("values were erased here, and are not in the log any more"),
        }
        return reasons.get(operation) or _("a %s is not a change of a row") % operation

    return said


def diverged() -> Sentence:
    """Return why a change that a failover has undone cannot be reverted."""
    return lambda names: _("the database lost the transaction of this change in a failover")


def no_table() -> Sentence:
    """Return what is said of a table that was dropped."""
    return lambda names: _("the table no longer exists")


def no_key(has_key: bool) -> Sentence:
    """Return what is said of a row that cannot be found."""
    if has_key:
        return lambda names: _("the log does not know the row's key")
    return lambda names: _("the log does not know the whole row, and the table has no key")


def cycle() -> Sentence:
    """Return what is said of rows for which there is no order."""
    return lambda names: _("rows refer to each other, and no order of statements works")


def read_only(columns: Sequence[str]) -> Sentence:
    """Return what is said of columns that the caller may not write."""
    return lambda names: _("you may not change %s") % _listed(columns, names)


def taken(columns: Sequence[str]) -> Sentence:
    """Return what is said of values that another row has."""
    return lambda names: _("another row has the same %s") % _listed(columns, names)


def taken_in(index: str) -> Sentence:
    """Return what is said of a value in an index that another row has."""
    return lambda names: _("another row has the same value in %s") % index


def key_taken(columns: Sequence[str]) -> Sentence:
    """Return what is said of a row whose key another one has."""
    return lambda names: _("another row has the key, with other values in %s") % _listed(columns, names)


def no_parent(parent: Name) -> Sentence:
    """Return what is said of a reference to a row that is gone."""
    return lambda names: _("refers to a row of %s that no longer exists") % names.table(parent)


def referenced(child: Name, follows: bool, blocker: Name | None = None) -> Sentence:
    """Return what is said of a row to which another one refers.

    Args:
        child: The table of that row.
        follows: Whether the database would change that row.
        blocker: The table of a row that keeps the database from it.
    """

    def said(names: ConflictNames) -> str:
        named = {"child": names.table(child), "blocker": names.table(blocker) if blocker else ""}
        if blocker is not None:
            text = _(
                "a row of %(child)s refers to it, and would be changed, and a row of %(blocker)s prevents it"
            )
        elif follows:
            text = _("a row of %(child)s refers to it, and would be changed")
        else:
            text = _("a row of %(child)s refers to it")
        return text % named

    return said


def no_row_since() -> Sentence:
    """Return what is said of a row that was deleted."""
    return lambda names: _("the row was deleted since")


def replaced() -> Sentence:
    """Return what is said of a row that is not the one that it was."""
    return lambda names: _("others deleted the row, or inserted it again, in between")


def changed_between(columns: Sequence[str]) -> Sentence:
    """Return what is said of values that are as they were, and were others in the meantime."""
    return lambda names: _("others changed %s in between") % _listed(columns, names)


def changed_since(values: Sequence[tuple[str, Any, Any]]) -> Sentence:
    """Return what is said of values that others have changed: column, value and expected value of each."""

    def said(names: ConflictNames) -> str:
        each = _("%(column)s is %(now)s, not %(expected)s")
        parts = [
            each
            % {
                "column": names.column(column),
                "now": names.value(column, now),
                "expected": names.value(column, expected),
            }
            for column, now, expected in values
        ]
        return _("changed since: %s") % _(", ").join(parts)

    return said


def ignored(columns: Sequence[str]) -> Sentence:
    """Return what is said of values that are not recorded, and without which a row cannot be inserted."""
    return lambda names: (
        _("the row needs %s, and the log does not have that: it is ignored") % _listed(columns, names)
    )


def needed(columns: Sequence[str], is_erased: bool) -> Sentence:
    """Return what is said of masked or erased values without which a row cannot be inserted."""

    def said(names: ConflictNames) -> str:
        if is_erased:
            text = _("%s must have a value, but is erased in the log: give one, values={...}")
        else:
            text = _("%s must have a value, but is masked in the log: give one, values={...}")
        return text % _listed(columns, names)

    return said


def not_put_back(columns: Sequence[str], is_erased: bool) -> Sentence:
    """Return what is said of masked or erased values."""

    def said(names: ConflictNames) -> str:
        if is_erased:
            text = _("%s cannot be put back, because it is erased in the log")
        else:
            text = _("%s cannot be put back, because it is masked in the log")
        return text % _listed(columns, names)

    return said


def unknown(columns: Sequence[str]) -> Sentence:
    """Return what is said of values that the log does not have."""
    return lambda names: _("the log does not know what %s was") % _listed(columns, names)


def removed(table: Name, last: str) -> str:
    """Return what is said of a table whose changes were removed from the log."""
    return _(
        "changes of %(table)s up to %(last)s UTC were removed from the log: what was changed there at the "
        "time stays as it is"
    ) % {"table": ".".join(table), "last": last}
