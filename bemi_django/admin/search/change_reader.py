"""Changes from the log, whatever they hold: a value nested without end must not hide the others."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change

#: Levels of JSON that are shown. Python reads about a thousand, PostgreSQL stores more.
DEEPEST = 100
_JSON = ("before", "after", "context")


def read_changes(changes: ChangeQuerySet) -> list[Change]:
    """The changes of a query, as deep as they can be shown."""
    try:
        found = list(changes)
    except RecursionError:
        found = list(changes.defer(*_JSON))
    for change in found:
        for name in _JSON:
            setattr(change, name, _part(change, name))
    return found


def _part(change: Change, name: str) -> Any:
    try:
        return prune(getattr(change, name))
    except RecursionError:
        return {_("(nested too deeply to be read)"): None}


def prune(value: Any, levels: int = DEEPEST) -> Any:
    """A value without what is nested deeper."""
    if not isinstance(value, (dict, list)):
        return value
    if levels == 0:
        return _("(nested too deeply to be shown)")
    if isinstance(value, dict):
        return {key: prune(item, levels - 1) for key, item in value.items()}
    return [prune(item, levels - 1) for item in value]
