"""The rows that refer to an object, and those that refer to these."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from django.db import models

from bemi_django.erasure.objects import key_columns, present_key
from bemi_django.erasure.related.references import BelongingColumns, belonging_values, named_columns
from bemi_django.erasure.related.reused import Holding, of_key, times_of
from bemi_django.erasure.related.spellings import Spellings
from bemi_django.erasure.related.unattached import unattached
from bemi_django.erasure.targets.held_values import During, joined
from bemi_django.erasure.targets.shared_rows import keys_of, shared_keys, timed_keys
from bemi_django.erasure.targets.target import Target, texts_like_numbers
from bemi_django.exceptions import BemiError
from bemi_django.log.belongings import generic_belongings, unconstrained
from bemi_django.log.live.live_tables import read_references
from bemi_django.log.live.name_catalog import column_names
from bemi_django.log.live.row_session import row_session
from bemi_django.log.places import Place, model_of, place_of

_Wanted = tuple[BelongingColumns, tuple[dict[str, Any], ...], tuple[During, ...]]


class Dependents:
    """What refers to the rows of a database, by foreign keys and by models.

    Args:
        alias: Alias of the database.
        chosen: Names of tables whose rows belong to an object although they are not deleted with it.
    """

    def __init__(self, alias: str, chosen: Collection[str] = ()) -> None:
        self._alias = alias
        self._chosen = set(chosen)
        self._known: dict[Place, list[BelongingColumns]] = {}
        self._used: set[str] = set()
        #: What refers to the rows, and is left as it is.
        self.left: dict[str, tuple[str, ...]] = {}
        #: The keys of rows that referred to others as well, or may have, by table: what they had then stays.
        self.passed: dict[str, frozenset[str]] = {}

    def with_related(self, targets: list[Target], instance: models.Model | None) -> list[Target]:
        """Return targets, and those of all rows that belong to them.

        Args:
            targets: The targets.
            instance: The object that they are of, if it has a model.

        Raises:
            BemiError: A table was chosen of which no row refers to them.
        """
        found = {target.place: target for target in targets}
        waiting = list(targets)
        subjects = list(found)
        if instance is not None:
            for belonging in generic_belongings(instance):
                place = place_of(belonging.model, self._alias)
                columns = tuple(belonging.values)
                own = key_columns(place, self._alias)
                # Such a column has numbers as texts, too.
                target = Target(place, (*own, *columns), (), (), _said(columns), key=own)
                times = times_of(targets[0], of_key(targets[0].spans[0].key))
                if times == [Holding()]:
                    target = target._replace(values=(belonging.values,))
                    target = self._followed(target, subjects, (belonging.values,), found)
                else:
                    target = target._replace(during=tuple(During(belonging.values, *time) for time in times))
                self._add(found, waiting, target)
        while waiting:
            parent = waiting.pop(0)
            wanted = self._wanted(parent)
            for reference, values, during in wanted:
                place = reference.child
                names = column_names(place, model_of(place))
                referring = [name for column in reference.columns for name in names.own(column)]
                own = key_columns(place, self._alias)
                every = [each for other, others, _ in wanted if other.child == place for each in others]
                kept, texts = (*own, *referring), texts_like_numbers(values)
                target = Target(place, kept, (), values, _said(reference.columns), texts, own)
                target = self._followed(target, [parent.place, *subjects], every, found)
                self._add(found, waiting, target._replace(during=during))
        if unknown := self._chosen - self._used:
            raise BemiError(f"no rows of {', '.join(sorted(unknown))} refer to it: check --related")
        return list(found.values())

    def _wanted(self, parent: Target) -> list[_Wanted]:
        """Return what belongs to rows, with the values that refer to them; note what is left as it is."""
        wanted = []
        shared = shared_keys(parent, keys_of(parent)) if parent.values or parent.during else set()
        shared |= timed_keys(parent)
        for reference in self._references(parent.place):
            if not self._is_wanted(reference):
                self.left[f"{reference.child.schema}.{reference.child.table}"] = reference.columns
                continue
            values, during = belonging_values(parent, reference, shared)
            if values or during:
                wanted.append((reference, values, during))
        return wanted

    def _followed(
        self,
        target: Target,
        parents: Sequence[Place],
        values: Sequence[Mapping[str, Any]],
        found: Mapping[Place, Target],
    ) -> Target:
        """Return a target with the changes of its rows while they belonged to the object without a reference.

        Args:
            target: The rows that refer to the object.
            parents: The tables of the object, and of what the rows refer to: others in them have their rows.
            values: What refers to the object.
            found: The changes that are known already.
        """
        place = target.place
        present = found[place].values if place in found else ()
        references = [each for parent in dict.fromkeys(parents) for each in self._references(parent)]
        columns = [
            names
            for each in references
            if each.child == place
            for names in named_columns(place, each.columns)
        ]
        every = joined(values, present)
        rows = unattached(place, every, columns)
        self.passed[target.name] = self.passed.get(target.name, frozenset()) | rows.passed
        named = dict.fromkeys([*map(tuple, every), *columns])
        return target._replace(spans=rows.spans, references=tuple(named), halves=rows.halves)

    def _add(self, found: dict[Place, Target], waiting: list[Target], target: Target) -> None:
        present = found.get(target.place)
        joined = target if present is None else present.joined(target)
        if joined != present:
            found[target.place] = joined
            waiting.append(joined)

    def _is_wanted(self, reference: BelongingColumns) -> bool:
        child = reference.child
        model = model_of(child)
        names = {f"{child.schema}.{child.table}", child.table, *([model._meta.label] if model else ())}
        self._used |= names & self._chosen
        return reference.is_owned or bool(names & self._chosen)

    def _references(self, parent: Place) -> list[BelongingColumns]:
        if parent not in self._known:
            key = {*present_key(parent, self._alias)}
            with row_session(self._alias) as cursor:
                known = read_references(cursor, json.dumps([(parent.schema, parent.table)]))
            found = [
                BelongingColumns(
                    child := Place(parent.database, *each.child),
                    each.columns,
                    each.parent_columns,
                    each.on_delete == "c" or _is_cascade(child, each.columns),
                    {*each.parent_columns} == key,
                    Spellings(self._alias, child, each),
                )
                for each in known
                if each.parent == (parent.schema, parent.table)
            ]
            self._known[parent] = [*found, *self._loose(parent, key)]
        return self._known[parent]

    def _loose(self, parent: Place, key: set[str]) -> Iterator[BelongingColumns]:
        model = model_of(parent)
        for field in unconstrained(model) if model else ():
            pairs = [(own.column, other.column) for own, other in field.related_fields]
            child = place_of(field.model, self._alias)
            columns, others = zip(*pairs, strict=True)
            is_owned = field.remote_field.on_delete is models.CASCADE
            yield BelongingColumns(child, columns, others, is_owned, {*others} == key)


def _said(columns: tuple[str, ...]) -> tuple[str, ...]:
    return (f"refers by {' and '.join(columns)}",)


def _is_cascade(child: Place, columns: tuple[str, ...]) -> bool:
    model: Any = model_of(child)
    fields = model._meta.concrete_fields if model else ()
    return any(
        field.column in columns and getattr(field.remote_field, "on_delete", None) is models.CASCADE
        for field in fields
    )
