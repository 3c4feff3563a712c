"""Find what was deleted, or set to NULL, together with a deleted row: rows that referred to it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bemi_django import destinations
from bemi_django.log.belongings import generic_belongings, has_generic_relations, unconstrained
from bemi_django.log.instances import instance_of
from bemi_django.log.live.live_tables import Reference, read_references
from bemi_django.log.places import Place, alias_of, models_at, place_of, places_of
from bemi_django.revert.draft import values_of
from bemi_django.revert.net import differ

if TYPE_CHECKING:
    from bemi_django.log.change import Change
    from bemi_django.log.querysets.change_queryset import ChangeQuerySet
    from bemi_django.log.querysets.changes_everywhere import ChangesEverywhere

_Values = tuple[str, ...]


def with_cascades(cursor: Any, changes: list[Change]) -> list[Change]:
    """Return the changes plus those of their transactions that removed references to a deleted row."""
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
    """Changes of rows that refer to others; read once for each foreign key and transaction."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._references: dict[Place, list[Reference]] = {}
        self._generic: set[Place] = set()
        self._children: dict[tuple[Reference, int], dict[_Values, list[Change]]] = {}

    def learn(self, parents: Iterable[Change]) -> None:
        """Ask the catalog and the models what refers to the tables of the parents."""
        fresh = {parent.place for parent in parents} - self._references.keys()
        if not fresh:
            return
        names = json.dumps(sorted((place.schema, place.table) for place in fresh))
        known = read_references(self._cursor, names)
        # Reverted changes are of one database.
        (database,) = {place.database for place in fresh}
        models = models_at(database, fresh)
        for place in fresh:
            own = [reference for reference in known if reference.parent == (place.schema, place.table)]
            model = models[place]
            self._references[place] = [*own, *(_loose(place, model) if model else ())]
            if model and has_generic_relations(model):
                self._generic.add(place)

    def taken_along_with(self, parent: Change) -> Iterator[Change]:
        """Yield the changes of rows that lost their reference to the deleted row."""
        for reference in self._references[parent.place]:
            if all(column in parent.before for column in reference.parent_columns):
                transaction = reference, parent.transaction_id
                if transaction not in self._children:
                    self._children[transaction] = _read(parent, reference)
                values = values_of(parent.before, reference.parent_columns)
                yield from self._children[transaction].get(values, ())
        if parent.place in self._generic:
            yield from _generic_children(parent)


def _loose(place: Place, model: Any) -> Iterator[Reference]:
    """Yield foreign keys without a constraint in the database."""
    fields = unconstrained(model)
    homes = places_of([field.model for field in fields], alias_of(place.database))
    for field, home in zip(fields, homes, strict=True):
        own, other = zip(*((one.column, other.column) for one, other in field.related_fields), strict=True)
        name = place.schema, place.table
        yield Reference(field.name, (home.schema, home.table), name, own, other, "a", False, False)


def _generic_children(parent: Change) -> Iterator[Change]:
    """Yield deletions of rows that referred to the deleted one by a generic relation."""
    deleted = _same_transaction(parent).deleted()
    for found in generic_belongings(instance_of(parent, parent.before)):
        yield from deleted.of_table(place_of(found.model, alias_of(parent.database))).before(found.values)


def _read(parent: Change, reference: Reference) -> dict[_Values, list[Change]]:
    schema, table = reference.child
    changes = _same_transaction(parent)
    children: dict[_Values, list[Change]] = defaultdict(list)
    for change in changes.filter(database=parent.database, schema=schema, table=table):
        if _lost(change, reference):
            children[values_of(change.before, reference.columns)].append(change)
    return children


def _same_transaction(parent: Change) -> ChangeQuerySet | ChangesEverywhere:
    """Return the changes of the transaction of a change, in whichever destinations they are."""
    log = type(parent).objects
    if len(destinations.of_database(parent.database)) > 1:
        return log.everywhere().in_transaction(parent.transaction_id)
    return log.using(parent.destination).in_transaction(parent.transaction_id)


def _lost(change: Change, reference: Reference) -> bool:
    """Tell whether the change deleted the row, or did nothing but set its reference to NULL."""
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
