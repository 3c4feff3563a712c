"""Find, for each column of a row, the change that gave it its current value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import DataError, models, router

from bemi_django.encryption.decryption import Decrypter, encrypted_columns
from bemi_django.log.change import Change
from bemi_django.log.conditions import in_span
from bemi_django.log.identity import key_spans
from bemi_django.log.keys import key_of, models_of
from bemi_django.log.live.column_names import PresentNames
from bemi_django.log.live.live_rows import find_rows
from bemi_django.log.live.live_tables import read_catalog
from bemi_django.log.live.name_catalog import column_names
from bemi_django.log.live.omitted_columns import omitted_columns
from bemi_django.log.live.present_types import rendered
from bemi_django.log.live.row_session import row_session
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.log.object_changes import TableLog, last_key
from bemi_django.log.places import Place, alias_of, complete_from, place_of
from bemi_django.wire.ids import sequence_in

#: Operations with which the changes of a row begin.
_FIRST = ("CREATE", "BASELINE")


@dataclass(frozen=True)
class Blame:
    """A column of a row, its value, and the change that set it.

    ``change`` is None if the value is older than the log, or if the worker has not written the change yet
    (``is_pending``). A change with the operation BASELINE has not set the value: it only tells that it was
    there. ``previous`` is the value before the change, None for an inserted row. If changes of the table were
    removed from the log, ``complete_from`` is when the last of them was committed: the change may be one of
    them.
    ``is_ignored``: the log does not have the column's values, because settings leave them out or did.
    ``is_erased``: the change has set the value, which was erased from the log.
    ``is_masked``: the log has nothing of the value, or only what a mask has left of it; ``value`` is that of
    the row.
    """

    column: str
    value: Any
    change: Change | None = None
    previous: Any = None
    is_pending: bool = False
    complete_from: datetime | None = None
    is_ignored: bool = False
    is_erased: bool = False
    is_masked: bool = False

    @property
    def committed_at(self) -> datetime | None:
        """When the change was committed."""
        return self.change.committed_at if self.change else None

    @property
    def user_id(self) -> Any:
        """``user_id`` of the change's context."""
        return self.change.context.get("user_id") if self.change else None

    @property
    def request_id(self) -> Any:
        """``request_id`` of the change's context."""
        return self.change.context.get("request_id") if self.change else None


def blame(instance: models.Model) -> dict[str, Blame]:
    """Return, by column name, the changes that gave an object's columns their current values.

    If the row no longer exists, its last values in the log are used. With multi-table inheritance, columns
    of the parents' tables come first.
    """
    alias = instance._state.db or router.db_for_write(instance.__class__)
    found: dict[str, Blame] = {}
    own, *parents = models_of(instance)
    for model in reversed(parents):
        found.update(blame_row(place_of(model, alias), key_of(instance, model), model))
    place = place_of(own, alias)
    key = last_key(Change.objects.of_table(place), instance, place)
    return found if key is None else {**found, **blame_row(place, key, own)}


def blame_row(place: Place, primary_key: str, model: type[models.Model] | None = None) -> dict[str, Blame]:
    """Return, by column name, the changes that gave a row's columns their current values.

    Args:
        place: The table.
        primary_key: The key of the row, as in ``changes.primary_key``.
        model: The model of the table, if it has one. It orders the columns, and may name renamed ones.
    """
    columns = column_names(place, model)
    omitted = omitted_columns(place, columns)
    given: dict[str, Blame] = {}
    now: dict[str, Any] | None = None
    masked: set[str] = set()
    is_newest = True
    decrypter = Decrypter(loads)
    for change in _backwards(place, primary_key):
        rows = decrypter.rows(change)
        names = columns.of(change)
        before, after = names.renamed(rows.before), names.renamed(rows.after)
        concealed = _named(change, "masked", names) - set(map(names.now, encrypted_columns(change)))
        masked |= concealed
        if now is None:
            live = _live(place, after or before)
            now = live or after or before
            if live and not after:
                # The log ends with its deletion: the change that inserted it again is not in the log yet.
                fresh = {column: Blame(column, value, is_pending=True) for column, value in live.items()}
                return _marked(_in_order(live, fresh, model), masked)
        # Since then, these may have got other values without a trace.
        lost = {column for column, last in omitted.items() if sequence_in(change.pk.bytes) < last}
        given.update(_ignored(now, (lost | names.untold | _named(change, "ignored", names)) - given.keys()))
        erased, set_here = _named(change, "erased", names), _named(change, "changed", names)
        hidden = set(map(names.now, rows.erased | rows.unreadable))
        erased |= set(map(names.now, rows.erased))
        set_here |= hidden & _set_by(change, names)
        # What is stored of a masked column is not its value, but tells who has set it.
        concealed = (concealed & now.keys()) - erased - given.keys()
        set_by = now.keys() if change.operation in _FIRST else set_here | _set_by(change, names)
        given.update(
            (column, Blame(column, now[column], change, is_masked=True)) for column in concealed & set_by
        )
        known = after.keys() - erased - hidden - concealed - given.keys()
        altered = _as_now(place, now, {column: after[column] for column in known})
        for column, value in {**after, **altered}.items():
            if column in given or column in concealed or column not in now:
                continue
            if column in erased | hidden:
                if change.operation in _FIRST or column in set_here:
                    given[column] = Blame(column, now[column], change, is_erased=column in erased)
                continue
            if dumps(value) != dumps(now[column]):
                # The worker has not written the next change yet, or DDL has computed the value since.
                given[column] = Blame(column, now[column], is_pending=is_newest)
            elif change.operation in _FIRST or dumps(before.get(column)) != dumps(after[column]):
                given[column] = Blame(column, value, change, before.get(column))
        if change.operation in _FIRST or len(given) == len(now):
            break
        is_newest = False
    given.update(_ignored(now or {}, omitted.keys() - given.keys()))
    is_whole = now is None or now.keys() <= given.keys()
    complete = None if is_whole else complete_from(place)
    return _marked(_in_order(now or {}, given, model, complete), masked)


def _marked(found: dict[str, Blame], masked: set[str]) -> dict[str, Blame]:
    """Say of masked columns that they are, where no change has the value."""
    return {
        column: replace(line, is_pending=False, is_masked=True)
        if column in masked and line.change is None
        else line
        for column, line in found.items()
    }


def _ignored(now: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Blame]:
    return {column: Blame(column, now[column], is_ignored=True) for column in columns if column in now}


def _named(change: Change, why: str, names: PresentNames) -> set[str]:
    return set(map(names.now, (change.unavailable or {}).get(why, ())))


def _in_order(
    now: Mapping[str, Any],
    given: Mapping[str, Blame],
    model: type[models.Model] | None,
    complete: datetime | None = None,
) -> dict[str, Blame]:
    declared = [field.column for field in model._meta.local_concrete_fields] if model else []
    columns = sorted(now, key=lambda column: declared.index(column) if column in declared else len(declared))
    return {
        column: given.get(column) or Blame(column, now[column], complete_from=complete) for column in columns
    }


def _backwards(place: Place, primary_key: str) -> Iterator[Change]:
    """Yield the changes of the row, the newest first, across changes of its key."""
    changes = Change.objects.of_table(place).filter(diverged=False).exclude(operation__in=("EVENT", "ERASED"))
    for span in key_spans(TableLog(changes), primary_key):
        yield from changes.filter(in_span(span)).desc().iterator(chunk_size=200)


def _live(place: Place, row: Mapping[str, Any]) -> dict[str, Any] | None:
    name = place.schema, place.table
    try:
        with row_session(alias_of(place.database)) as cursor:
            table = read_catalog(cursor, json.dumps([name])).tables.get(name)
            if table is None or not table.key or not all(column in row for column in table.key):
                return None
            rows = find_rows(cursor, table, [{column: row[column] for column in table.key}], lock=False)
    except DataError:
        # The columns of the key had other types, or were no key, when the change was made.
        return None
    return rows.get(0)


def _as_now(place: Place, now: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those values that are not as they are now, in the form that the types of now give them."""
    other = {c: value for c, value in values.items() if c in now and dumps(value) != dumps(now[c])}
    if not other:
        return {}
    name = place.schema, place.table
    with row_session(alias_of(place.database)) as cursor:
        table = read_catalog(cursor, json.dumps([name])).tables.get(name)
        return rendered(cursor, table, [other])[0] if table is not None else {}


def _set_by(change: Change, names: PresentNames) -> set[str]:
    """Return the columns that a change has set; equal values are encrypted alike."""
    return {
        names.now(column)
        for column, value in change.after.items()
        if dumps(change.before.get(column)) != dumps(value)
    }
