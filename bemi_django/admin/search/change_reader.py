"""Read changes from the log without failing on values that are nested too deeply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.utils.translation import gettext as _

from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change

#: Levels of JSON that are shown. Python parses about a thousand; PostgreSQL stores more.
DEEPEST = 100
_JSON = ("before", "after", "context")


def read_changes(changes: ChangeQuerySet) -> list[Change]:
    """Return the changes of a query with their JSON cut below ``DEEPEST`` levels.

    A single value that Python cannot parse must not hide the other changes of a page. Columns that the query
    defers are not read.
    """
    # A part of what was read before is a list.
    query = getattr(changes, "query", None)
    deferred, is_deferred = query.deferred_loading if query else (frozenset(), True)
    names = [name for name in _JSON if (name in deferred) != is_deferred]
    return read_with(lambda given: list(given), changes, names)


def read_with(
    read: Callable[[ChangeQuerySet], list[Change]], changes: ChangeQuerySet, names: Sequence[str] = _JSON
) -> list[Change]:
    """Return the changes that a function reads by a query, with their JSON cut below ``DEEPEST`` levels.

    Args:
        read: Reads the changes; called again without the JSON if some of it is nested too deeply.
        changes: The query.
        names: The columns of JSON that the query reads.
    """
    try:
        found = read(changes)
    except RecursionError:
        found = read(changes.defer(*_JSON))
    for change in found:
        for name in names:
            setattr(change, name, read_json(partial(getattr, change, name)))
    return found


def read_json(read: Callable[[], Any]) -> Any:
    """Return a JSON value that a function reads, cut below ``DEEPEST`` levels."""
    try:
        return prune(read())
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
