"""Find what was deleted, or set to NULL, together with a deleted row, or got the new key of a changed one.

These are the rows that referred to it, and those of the same object in the tables of its model's parents.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from bemi_django import destinations
from bemi_django.log.belongings import GenericLink, generic_links, unconstrained
from bemi_django.log.keys import json_of
from bemi_django.log.live.live_tables import Reference, read_references
from bemi_django.log.lossless_json import dumps
from bemi_django.log.places import Place, alias_of, models_at, place_of, places_of
from bemi_django.revert.draft import values_of
from bemi_django.revert.net import differ

if TYPE_CHECKING:
    from bemi_django.log.change import Change
    from bemi_django.log.querysets.change_queryset import ChangeQuerySet
    from bemi_django.log.querysets.changes_everywhere import ChangesEverywhere

_CASCADE = "c"
_Values = tuple[str, ...]
#: The changes of rows, by the values of what they refer to.
_Children = Mapping[_Values, "list[Change]"]
_Relation = TypeVar("_Relation", Reference, GenericLink)


def with_cascades(cursor: Any, changes: list[Change]) -> list[Change]:
    """Return the changes plus those of their transactions that a deleted row, or a new key, took along."""
    chosen = {change.pk: change for change in changes}
    transactions = _Transactions(cursor)
    parents = [change for change in changes if _takes_along(change)]
    while parents:
        transactions.learn(parents)
        found = [child for parent in parents for child in transactions.taken_along_with(parent)]
        fresh = {child.pk: child for child in found if child.pk not in chosen}
        chosen.update(fresh)
        parents = [child for child in fresh.values() if _takes_along(child)]
    return sorted(chosen.values(), key=lambda change: change.pk)


def _takes_along(change: Change) -> bool:
    return change.operation in ("DELETE", "UPDATE")


class _Transactions:
    """Changes of rows that refer to others; read once for each relation and transaction."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._references: dict[Place, list[Reference]] = {}
        self._generic: dict[Place, list[tuple[Any, GenericLink]]] = {}
        self._children: dict[tuple[Reference | GenericLink, int, bool], _Children] = {}

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
            others = [*_loose(place, model), *_inherited(place, model)] if model else []
            self._references[place] = [*own, *others]
            self._generic[place] = [(model, link) for link in generic_links(model)] if model else []

    def taken_along_with(self, parent: Change) -> Iterator[Change]:
        """Yield the changes of rows that lost their reference to the deleted row, or follow its new key."""
        if parent.operation != "DELETE":
            yield from self._following(parent)
            return
        for reference in self._references[parent.place]:
            if all(column in parent.before for column in reference.parent_columns):
                values = values_of(parent.before, reference.parent_columns)
                yield from self._by_values(parent, reference, _read).get(values, ())
        for model, link in self._generic[parent.place]:
            values = _key_in(link, model, parent)
            yield from self._by_values(parent, link, _read_generic).get(values, ())

    def _following(self, parent: Change) -> Iterator[Change]:
        """Yield the changes by which ``ON UPDATE CASCADE`` gave rows the new key of another one.

        Those of rows whose own key has it are left out: others may refer to them in turn.
        """
        for reference in self._references[parent.place]:
            own = reference.parent_columns
            if reference.on_update == _CASCADE and all(column in parent.before for column in own):
                values = values_of(parent.before, own), values_of(parent.after, own)
                if values[0] != values[1]:
                    moved = self._by_values(parent, reference, _read_moved).get(sum(values, ()), ())
                    yield from (change for change in moved if change.previous_primary_key is None)

    def _by_values(
        self, parent: Change, relation: _Relation, read: Callable[[Change, _Relation], _Children]
    ) -> _Children:
        """Return the changes of the parent's transaction that removed references by a relation."""
        transaction = relation, parent.transaction_id, parent.operation == "DELETE"
        if transaction not in self._children:
            self._children[transaction] = read(parent, relation)
        return self._children[transaction]


def _loose(place: Place, model: Any) -> Iterator[Reference]:
    """Yield foreign keys without a constraint in the database."""
    fields = unconstrained(model)
    homes = places_of([field.model for field in fields], alias_of(place.database))
    for field, home in zip(fields, homes, strict=True):
        own, other = zip(*((one.column, other.column) for one, other in field.related_fields), strict=True)
        name = place.schema, place.table
        yield Reference(field.name, (home.schema, home.table), name, own, other, "a", False, False)


def _inherited(place: Place, model: Any) -> Iterator[Reference]:
    """Yield the parents of a model as if their rows referred to the child's: Django deletes them with it."""
    links = [(parent, link) for parent, link in model._meta.parents.items() if link is not None]
    homes = places_of([parent for parent, _ in links], alias_of(place.database))
    for (_, link), home in zip(links, homes, strict=True):
        own, other = (link.target_field.column,), (link.column,)
        name = place.schema, place.table
        yield Reference(link.name, (home.schema, home.table), name, own, other, "a", False, False)


def _key_in(link: GenericLink, model: Any, parent: Change) -> _Values:
    """Return what rows have in a generic relation to a row of a model; nothing if they cannot have it."""
    pk = model._meta.pk
    stored = parent.before.get(pk.column) if parent.primary_key is None else parent.primary_key
    # Fields of the project may expect anything of their values. Most keys are the same as text.
    for convert in (pk.to_python, str):
        with suppress(Exception):
            return (dumps(json_of(link.key, convert(stored))),)
    return ()


def _read_generic(parent: Change, link: GenericLink) -> _Children:
    deleted = _same_transaction(parent).deleted()
    place = place_of(link.model, alias_of(parent.database))
    children: dict[_Values, list[Change]] = defaultdict(list)
    for change in deleted.of_table(place).before({link.kind_column: link.kind}):
        children[(dumps(change.before.get(link.key.column)),)].append(change)
    return children


def _read(parent: Change, reference: Reference) -> _Children:
    schema, table = reference.child
    changes = _same_transaction(parent)
    children: dict[_Values, list[Change]] = defaultdict(list)
    for change in changes.filter(database=parent.database, schema=schema, table=table):
        if _lost(change, reference):
            children[values_of(change.before, reference.columns)].append(change)
    return children


def _read_moved(parent: Change, reference: Reference) -> _Children:
    """Return the changes of rows that got another reference, by its values before and after."""
    schema, table = reference.child
    children: dict[_Values, list[Change]] = defaultdict(list)
    changes = _same_transaction(parent).updated()
    for change in changes.filter(database=parent.database, schema=schema, table=table):
        if all(column in side for side in (change.before, change.after) for column in reference.columns):
            old, new = (values_of(side, reference.columns) for side in (change.before, change.after))
            children[old + new].append(change)
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
