"""Record what is done with the audit view itself (``BEMI_ADMIN_EVENTS``)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from django.db import models

from bemi_django.capture.context import kept_context
from bemi_django.events.configured import admin_events
from bemi_django.events.recording import try_to_emit

#: The values of some rows by column.
Page = Mapping[str, Sequence[Any]]
#: Keys of a table that are recorded of one page.
_MOST_KEYS = 100


def note(event: str, instance: models.Model | None = None, **details: Any) -> None:
    """Record an event of the audit view, unless the setting says not to. This never fails."""
    if admin_events():
        try_to_emit(event, instance, details)


class Unmasked:
    """Masked values that were shown to a user who may see them: by table, and keys of contexts."""

    def __init__(self) -> None:
        self._columns: dict[str, set[str]] = {}
        self._keys: dict[str, set[str]] = {}
        self._context: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._columns or self._context)

    def add(self, schema: str, table: str, columns: set[str], key: str | None) -> None:
        """Note that values of columns were shown, of the row with a key."""
        name = f"{schema}.{table}"
        self._columns.setdefault(name, set()).update(columns)
        keys = self._keys.setdefault(name, set())
        # An export shows any number of rows.
        if key is not None and len(keys) < _MOST_KEYS:
            keys.add(key)

    def add_context(self, names: set[str]) -> None:
        """Note that values of contexts under some keys were shown."""
        self._context |= names

    def note(self, page: str) -> None:
        """Record what was shown on a page, once."""
        if self:
            columns = {name: sorted(found) for name, found in self._columns.items()}
            keys = {name: sorted(found) for name, found in self._keys.items() if found}
            context: dict[str, Any] = {"context": sorted(self._context)} if self._context else {}
            note("unmasked", page=page, columns=columns, keys=keys, **context)
        self._columns, self._keys, self._context = {}, {}, set()


class Counted:
    """Counts the rows of the pages that an iterator yields; ``number`` is how many they are."""

    def __init__(self, pages: Iterator[Page]) -> None:
        self._pages = pages
        self.number = 0

    def __iter__(self) -> Iterator[Page]:
        for page in self._pages:
            self.number += len(page["id"])
            yield page


def noted_export(
    content: Iterator[bytes], counted: Counted, details: Callable[[], dict[str, Any]]
) -> Generator[bytes, None, None]:
    """Return the parts of a file; when it ends, or is broken off, it is recorded how much it has.

    The event has the context in which this is called.

    Args:
        content: The parts.
        counted: The rows that are written to them.
        details: Returns what else is known of the export when it has ended.
    """
    # A server closes what is broken off when the request has ended, and with it its context.
    return _noted(content, counted, details, kept_context())


def _noted(
    content: Iterator[bytes],
    counted: Counted,
    details: Callable[[], dict[str, Any]],
    context: AbstractContextManager[None],
) -> Generator[bytes, None, None]:
    is_complete = False
    try:
        yield from content
        is_complete = True
    finally:
        with context:
            note("exported", rows=counted.number, is_complete=is_complete, **details())
