"""What is said about conflicts, in the language that is active when a plan is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.text import get_text_list
from django.utils.translation import gettext as _

from bemi_django.log.live.live_tables import Name


def listed_and(names: Sequence[str]) -> str:
    """Return names as a list in a sentence."""
    return str(get_text_list([*names], _("and")))


def no_row(operation: str) -> str:
    """Return why a change that is not of a row cannot be reverted."""
    reasons = {
        "TRUNCATE": _("the log does not have the rows that a TRUNCATE removed"),
        "GAP": _("changes were lost here"),
        "BASELINE": _("a BASELINE has changed nothing: the row was there before"),
        "EVENT": _("an event has changed nothing"),
        "SKIPPED": _("these changes were excluded from the log"),
        "ERASED": _("values were erased here, and are not in the log any more"),
    }
    return reasons.get(operation) or _("a %s is not a change of a row") % operation


def diverged() -> str:
    """Return why a change that a failover has undone cannot be reverted."""
    return _("the database lost the transaction of this change in a failover")


def no_table() -> str:
    """Return what is said of a table that was dropped."""
    return _("the table no longer exists")


def no_key(has_key: bool) -> str:
    """Return what is said of a row that cannot be found."""
    if has_key:
        return _("the log does not know the row's key")
    return _("the log does not know the whole row, and the table has no key")


def cycle() -> str:
    """Return what is said of rows for which there is no order."""
    return _("rows refer to each other, and no order of statements works")


def read_only(columns: Sequence[str]) -> str:
    """Return what is said of columns that the caller may not write."""
    return _("you may not change %s") % listed_and(columns)


def taken(columns: Sequence[str]) -> str:
    """Return what is said of values that another row has."""
    return _("another row has the same %s") % listed_and(columns)


def taken_in(index: str) -> str:
    """Return what is said of a value in an index that another row has."""
    return _("another row has the same value in %s") % index


def key_taken(columns: Sequence[str]) -> str:
    """Return what is said of a row whose key another one has."""
    return _("another row has the key, with other values in %s") % listed_and(columns)


def no_parent(parent: Name) -> str:
    """Return what is said of a reference to a row that is gone."""
    return _("refers to a row of %s that no longer exists") % ".".join(parent)


def referenced(child: Name, follows: bool, blocker: Name | None = None) -> str:
    """Return what is said of a row to which another one refers.

    Args:
        child: The table of that row.
        follows: Whether the database would change that row.
        blocker: The table of a row that keeps the database from it.
    """
    named = {"child": ".".join(child), "blocker": ".".join(blocker or ())}
    if blocker is not None:
        return (
            _("a row of %(child)s refers to it, and would be changed, and a row of %(blocker)s prevents it")
            % named
        )
    if follows:
        return _("a row of %(child)s refers to it, and would be changed") % named
    return _("a row of %(child)s refers to it") % named


def no_row_since() -> str:
    """Return what is said of a row that was deleted."""
    return _("the row was deleted since")


def replaced() -> str:
    """Return what is said of a row that is not the one that it was."""
    return _("others deleted the row, or inserted it again, in between")


def changed_between(columns: Sequence[str]) -> str:
    """Return what is said of values that are as they were, and were others in the meantime."""
    return _("others changed %s in between") % listed_and(columns)


def changed_since(values: Sequence[tuple[str, Any, Any]]) -> str:
    """Return what is said of values that others have changed: column, value and expected value of each."""
    each = _("%(column)s is %(now)s, not %(expected)s")
    parts = (each % {"column": name, "now": now, "expected": expected} for name, now, expected in values)
    return _("changed since: %s") % ", ".join(parts)


def ignored(columns: Sequence[str]) -> str:
    """Return what is said of values that are not recorded, and without which a row cannot be inserted."""
    return _("the row needs %s, and the log does not have that: it is ignored") % listed_and(columns)


def needed(columns: Sequence[str], is_erased: bool) -> str:
    """Return what is said of masked or erased values without which a row cannot be inserted."""
    if is_erased:
        text = _("%s must have a value, but is erased in the log: give one, values={...}")
    else:
        text = _("%s must have a value, but is masked in the log: give one, values={...}")
    return text % listed_and(columns)


def not_put_back(columns: Sequence[str], is_erased: bool) -> str:
    """Return what is said of masked or erased values."""
    if is_erased:
        text = _("%s cannot be put back, because it is erased in the log")
    else:
        text = _("%s cannot be put back, because it is masked in the log")
    return text % listed_and(columns)


def unknown(columns: Sequence[str]) -> str:
    """Return what is said of values that the log does not have."""
    return _("the log does not know what %s was") % listed_and(columns)


def removed(table: Name, last: str) -> str:
    """Return what is said of a table whose changes were removed from the log."""
    return _(
        "changes of %(table)s up to %(last)s UTC were removed from the log: what was changed there at the "
        "time stays as it is"
    ) % {"table": ".".join(table), "last": last}
