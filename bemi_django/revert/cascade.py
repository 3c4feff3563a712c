"""What went with a deleted row in its transaction: rows that referred to it, and references to it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bemi_django.revert.draft import values_of
from bemi_django.revert.net import differ
from bemi_django.revert.tables import Name, Reference, read_references

if TYPE_CHECKING:
    from bemi_django.models import Change

_Values = tuple[str, ...]


def with_cascades(cursor: Any, changes: list[Change]) -> list[Change]:
    """The changes, and those of their transactions that took along what referred to a deleted row."""
    chosen = {change.pk: change for change in changes}
    transactions = _Transactions(cursor)
    deleted = [change for change in changes if change.operation == "DELETE"]
    while deleted:
        transactions.learn(deleted)
        found = [child for parent in deleted for child in transactions.taken_along_with(parent)]
        fresh = {child.pk: child for child in found if child.pk not in chosen}
        chosen.update(fresh)
        deleted = [child for child in fresh.values() if child.operation == "DELETE"]
    return sorted(chosen.values(), key=lambda change: change.pk)


class _Transactions:
    """Changes of rows that refer to others, read once for a foreign key and a transaction."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._references: dict[Name, list[Reference]] = {}
        self._children: dict[tuple[Reference, int], dict[_Values, list[Change]]] = {}

    def learn(self, parents: Iterable[Change]) -> None:
        """Ask the catalog what refers to the tables."""
        names = {(parent.schema, parent.table) for parent in parents} - self._references.keys()
        if not names:
            return
        self._references.update({name: [] for name in names})
        for reference in read_references(self._cursor, json.dumps(sorted(names))):
            if reference.parent in names:
                self._references[reference.parent].append(reference)

    def taken_along_with(self, parent: Change) -> Iterator[Change]:
        for reference in self._references[parent.schema, parent.table]:
            if all(column in parent.before for column in reference.parent_columns):
                place = reference, parent.transaction_id
                if place not in self._children:
                    self._children[place] = _read(parent, reference)
                yield from self._children[place].get(values_of(parent.before, reference.parent_columns), ())


def _read(parent: Change, reference: Reference) -> dict[_Values, list[Change]]:
    schema, table = reference.child
    changes = type(parent).objects.using(parent._state.db).in_transaction(parent.transaction_id)
    children: dict[_Values, list[Change]] = defaultdict(list)
    for change in changes.filter(database=parent.database, schema=schema, table=table):
        if _lost(change, reference):
            children[values_of(change.before, reference.columns)].append(change)
    return children


def _lost(change: Change, reference: Reference) -> bool:
    """Whether the row went with what it referred to, or its reference did and nothing else."""
    columns = reference.columns
    if any(change.before.get(column) is None for column in columns):
        return False
    if change.operation == "DELETE":
        return True
    return (
        change.operation == "UPDATE"
        and change.before.keys() == change.after.keys()
        and any(change.after[column] is None for column in columns)
        and {column for column in change.after if differ(change.after[column], change.before[column])}
        <= set(columns)
    )
