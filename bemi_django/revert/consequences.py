"""Find what the database itself does when a row is deleted: rows that foreign keys delete or change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from typing import Any, NamedTuple

from bemi_django.log.live.equality import swapped
from bemi_django.log.live.live_rows import find_keys
from bemi_django.log.live.live_tables import (
    ADDRESS,
    LiveCatalog,
    Name,
    Reference,
    RowValues,
    read_catalog,
)
from bemi_django.log.lossless_json import dumps
from bemi_django.log.printing import key_text
from bemi_django.revert.draft import Draft, Identity, identity
from bemi_django.revert.plan import Effect

_CASCADE = "c"
_CHANGES = ("n", "d")


class Consequences(NamedTuple):
    """The writes that follow a delete, and the first table whose rows prevent it, if any."""

    effects: tuple[Effect, ...]
    blocker: Name | None


class CascadeReader:
    """Follows foreign keys from deleted rows, as the database does."""

    def __init__(self, cursor: Any, catalog: LiveCatalog, planned: Set[Identity], *, lock: bool) -> None:
        """Prepare to read.

        Args:
            cursor: A cursor of ``row_session``.
            catalog: The tables of the plan.
            planned: Rows that the plan itself deletes or changes.
            lock: Whether to lock the rows that are found.
        """
        self._cursor = cursor
        self._catalog = LiveCatalog(dict(catalog.tables), [])
        self._planned = planned
        self._lock = lock
        self._references: dict[Name, list[Reference]] = {}

    def read(self, draft: Draft) -> Consequences:
        """Return what follows from deleting the live row of a draft."""
        if draft.live is None or draft.identity is None:
            return Consequences((), None)
        effects: list[Effect] = []
        kept: list[tuple[Identity, Name]] = []
        deleted = {draft.identity}
        waiting: list[tuple[Name, list[RowValues]]] = [(draft.table.name, [draft.live])]
        while waiting:
            parent, rows = waiting.pop(0)
            for reference in self._to(parent):
                fresh = []
                for child, row in self._children(reference, rows):
                    if child in deleted or child in self._planned:
                        continue
                    if reference.on_delete == _CASCADE:
                        deleted.add(child)
                        fresh.append(row)
                        effects.append(self._effect(reference, row, "delete"))
                    elif reference.on_delete in _CHANGES:
                        effects.append(self._effect(reference, row, "update"))
                    else:
                        kept.append((child, reference.child))
                if fresh:
                    waiting.append((reference.child, fresh))
        # With NO ACTION a row may be deleted by another foreign key.
        blocker = next((name for child, name in kept if child not in deleted), None)
        return Consequences(tuple(dict.fromkeys(effects)), blocker)

    def _to(self, parent: Name) -> list[Reference]:
        """Return the foreign keys to a table, and learn the tables that they are of."""
        if parent not in self._references:
            known = read_catalog(self._cursor, json.dumps([parent]))
            found = [reference for reference in known.references if reference.parent == parent]
            self._references[parent] = found
            unknown = {reference.child for reference in found} - self._catalog.tables.keys()
            if unknown:
                self._catalog.tables.update(read_catalog(self._cursor, json.dumps(sorted(unknown))).tables)
        return self._references[parent]

    def _children(self, reference: Reference, rows: list[RowValues]) -> Iterator[tuple[Identity, RowValues]]:
        table = self._catalog.tables[reference.child]
        further = [column for one in self._to(reference.child) for column in one.parent_columns]
        found = find_keys(
            self._cursor,
            [{column: row[column] for column in reference.parent_columns} for row in rows],
            self._catalog.tables[reference.parent],
            reference.parent_columns,
            reference.child,
            reference.columns,
            swapped(reference.equalities),
            tuple(dict.fromkeys((*table.key, *further))),
            None,
            lock=self._lock,
        )
        for _, row in found:
            yield identity(table, row), row

    def _effect(self, reference: Reference, row: RowValues, action: Any) -> Effect:
        table = self._catalog.tables[reference.child]
        key = None if table.key == ADDRESS else key_text([_printable(row[column]) for column in table.key])
        columns = (reference.cleared or reference.columns) if action == "update" else ()
        return Effect(*reference.child, action, key, columns)


def _printable(value: Any) -> Any:
    return dumps(value) if isinstance(value, (dict, list)) else value
