"""Read changes from the log without failing on values that are nested too deeply."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change

#: Levels of JSON that are shown. Python parses about a thousand; PostgreSQL stores more.
DEEPEST = 100
_JSON = ("before", "after", "context")


def read_changes(changes: ChangeQuerySet) -> list[Change]:
    """Return the changes of a query with their JSON cut below ``DEEPEST`` levels.

    A single value that Python cannot parse must not hide the other changes of a page.
    """
    try:
        found = list(changes)
    except RecursionError:
        found = list(changes.defer(*_JSON))
    for change in found:
        for name in _JSON:
            setattr(change, name, _json_field(change, name))
    return found


def _json_field(change: Change, name: str) -> Any:
    try:
        return prune(getattr(change, name))
    except RecursionError:
        return {_("(nested too deeply to be read)"): None}


def prune(value: Any, levels: int = DEEPEST) -> Any:
    """Return a JSON value in which everything below so many levels is replaced by a note."""
    if not isinstance(value, (dict, list)):
        return value
    if levels == 0:
        return _("(nested too deeply to be shown)")
    if isinstance(value, dict):
        return {key: prune(item, levels - 1) for key, item in value.items()}
    return [prune(item, levels - 1) for item in value]
