"""Find the changes of an object, and of the rows that refer to it, whose values are to be erased."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.db import models

from bemi_django import conf
from bemi_django.erasure.target import Target, is_text, texts_like_numbers, values_of_key
from bemi_django.exceptions import BemiError
from bemi_django.log.belongings import generic_belongings, unconstrained
from bemi_django.log.conditions import in_table, value_of
from bemi_django.log.identity import RowLog, key_spans
from bemi_django.log.keys import key_of, models_of
from bemi_django.log.live.live_tables import read_catalog, read_references
from bemi_django.log.live.name_catalog import column_names
from bemi_django.log.live.row_session import row_session
from bemi_django.log.object_changes import TableLog
from bemi_django.log.places import Place, model_of, place_of, places_of
from bemi_django.models import Change

if TYPE_CHECKING:
    from bemi_django.archive.location import Location


class BelongingColumns(NamedTuple):
    """Columns of a table by which its rows refer to others; ``is_owned``: they are deleted with them."""

    child: Place
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    is_owned: bool


def targets_of_instance(instance: models.Model, alias: str, archive: Location | None = None) -> list[Target]:
    """Return the changes of an object, in the tables of its model and of the model's parents.

    Args:
        instance: The object.
        alias: Alias of its database.
        archive: The archive, if its months count.
    """
    own = models_of(instance)
    places = places_of(own, alias)
    return [
        target_of_key(place, key_of(instance, model), alias, archive)
        for model, place in zip(own, places, strict=True)
    ]


def target_of_key(place: Place, key: str, alias: str, archive: Location | None = None) -> Target:
    """Return the changes of a row, under all keys that it had.

    Args:
        place: The table.
        key: A key of the row, as the log has it.
        alias: Alias of the database of the table.
        archive: The archive, if its months count.
    """
    log = Change.objects.using(conf.destination()).filter(in_table(place))
    whole: RowLog = TableLog(log)
    archived = None
    if archive is not None:
        # Its package need not be installed.
        from bemi_django.erasure.archived_values import WholeLog

        whole = archived = WholeLog(whole, archive, place)
    own = _key_columns(place, alias)
    spans = tuple(key_spans(whole, key))
    keys = dict.fromkeys(span.key for span in spans)
    texts = [each for each in keys if is_text(log, own, each) or (archived and archived.has_text(own, each))]
    return Target(place, own, spans, texts=tuple(texts), key=own)


def user_key(instance: models.Model | None) -> Any:
    """Return the key of a user, who may have made changes; None for anything else."""
    try:
        model = apps.get_model(settings.AUTH_USER_MODEL)
    # A project without Django has no users.
    except (LookupError, ValueError):
        return None
    return instance.pk if instance is not None and instance._meta.concrete_model is model else None


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
        if instance is not None:
            for belonging in generic_belongings(instance):
                place = place_of(belonging.model, self._alias)
                columns = tuple(belonging.values)
                own = _key_columns(place, self._alias)
                # Such a column has numbers as texts, too.
                target = Target(place, (*own, *columns), (), (belonging.values,), _said(columns), key=own)
                self._add(found, waiting, target)
        while waiting:
            parent = waiting.pop(0)
            for reference in self._references(parent.place):
                if not self._is_wanted(reference):
                    self.left[f"{reference.child.schema}.{reference.child.table}"] = reference.columns
                    continue
                values = tuple(_values(parent, reference))
                names = column_names(reference.child, model_of(reference.child))
                referring = [name for column in reference.columns for name in names.own(column)]
                own = _key_columns(reference.child, self._alias)
                kept, texts = (*own, *referring), texts_like_numbers(values)
                if values:
                    child = Target(reference.child, kept, (), values, _said(reference.columns), texts, own)
                    self._add(found, waiting, child)
        if unknown := self._chosen - self._used:
            raise BemiError(f"no rows of {', '.join(sorted(unknown))} refer to it: check --related")
        return list(found.values())

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
            with row_session(self._alias) as cursor:
                known = read_references(cursor, json.dumps([(parent.schema, parent.table)]))
            found = [
                BelongingColumns(
                    child := Place(parent.database, *each.child),
                    each.columns,
                    each.parent_columns,
                    each.on_delete == "c" or _is_cascade(child, each.columns),
                )
                for each in known
                if each.parent == (parent.schema, parent.table)
            ]
            self._known[parent] = [*found, *self._loose(parent)]
        return self._known[parent]

    def _loose(self, parent: Place) -> Iterator[BelongingColumns]:
        model = model_of(parent)
        for field in unconstrained(model) if model else ():
            pairs = [(own.column, other.column) for own, other in field.related_fields]
            child = place_of(field.model, self._alias)
            columns, others = zip(*pairs, strict=True)
            yield BelongingColumns(child, columns, others, field.remote_field.on_delete is models.CASCADE)


def _said(columns: tuple[str, ...]) -> str:
    return f"refers by {' and '.join(columns)}"


def _is_cascade(child: Place, columns: tuple[str, ...]) -> bool:
    model: Any = model_of(child)
    fields = model._meta.concrete_fields if model else ()
    return any(
        field.column in columns and getattr(field.remote_field, "on_delete", None) is models.CASCADE
        for field in fields
    )


def _values(parent: Target, reference: BelongingColumns) -> Iterator[dict[str, Any]]:
    """Yield the values that rows had which refer to a parent, by all names that their columns had."""
    children = list(_named(reference.child, reference.columns))
    seen: list[tuple[Any, ...]] = []
    for values in (*_values_of_keys(parent, reference), *_logged_values(parent, reference)):
        if None not in values and values not in seen:
            seen.append(values)
            yield from (dict(zip(columns, values, strict=True)) for columns in children)


def _logged_values(parent: Target, reference: BelongingColumns) -> Iterator[tuple[Any, ...]]:
    log = Change.objects.using(conf.destination()).filter(parent.condition).order_by()
    for names in _named(parent.place, reference.parent_columns):
        for side in ("before", "after"):
            columns = {f"value_{number}": value_of(side, name) for number, name in enumerate(names)}
            yield from log.annotate(**columns).values_list(*columns).distinct()


def _named(place: Place, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield columns by their present names, and by those that they had."""
    names = column_names(place, model_of(place))
    return product(*(names.own(column) for column in columns))


def _values_of_keys(parent: Target, reference: BelongingColumns) -> Iterator[tuple[Any, ...]]:
    """Yield the values of the keys that the parent had, of whatever type, also if no change of it is left."""
    if not parent.spans or len(reference.columns) > 1 or reference.parent_columns != parent.key[:1]:
        return
    log = Change.objects.using(conf.destination())
    is_known = log.filter(parent.condition).exists()
    referring = None if is_known else log.filter(in_table(reference.child))
    names = [name for (name,) in _named(reference.child, reference.columns)]
    for span in parent.spans:
        yield from ((value,) for value in values_of_key(span.key, parent.texts, referring, names))


def _key_columns(place: Place, alias: str) -> tuple[str, ...]:
    """Return the columns of a table's key, by all names that they had."""
    name = place.schema, place.table
    with row_session(alias) as cursor:
        table = read_catalog(cursor, json.dumps([name])).tables.get(name)
    model: Any = model_of(place)
    if table is not None and table.primary is not None:
        columns = list(table.primary.columns)
    else:
        fields = getattr(model._meta, "pk_fields", [model._meta.pk]) if model else []
        columns = [field.column for field in fields]
    names = column_names(place, model)
    return (*columns, *(name for column in columns for name in names.own(column)[1:]))
