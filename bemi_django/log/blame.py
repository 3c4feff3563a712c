"""Find, for each column of a row, the change that gave it its current value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.db import models, router

from bemi_django.encryption.decryption import Decrypter, encrypted_columns
from bemi_django.log.change import Change
from bemi_django.log.conditions import in_span
from bemi_django.log.identity import key_spans
from bemi_django.log.keys import key_of, models_of
from bemi_django.log.live.column_names import PresentNames
from bemi_django.log.live.name_catalog import column_names
from bemi_django.log.live.omitted_columns import omitted_columns
from bemi_django.log.live.placed_rows import as_now, row_like
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.log.object_changes import TableLog, last_key
from bemi_django.log.places import Place, complete_from, place_of
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
    decrypter = Decrypter(loads)
    masked: set[str] = set()
    lines: _Lines | None = None
    for change in _backwards(place, primary_key):
        seen = _Seen.of(change, columns.of(change), decrypter)
        masked |= seen.masked
        if lines is None:
            live = row_like(place, seen.after or seen.before)
            if live and not seen.after:
                # The log ends with its deletion: the change that inserted it again is not in the log yet.
                fresh = {column: Blame(column, value, is_pending=True) for column, value in live.items()}
                return _marked(_in_order(live, fresh, model), masked)
            lines = _Lines(place, live or seen.after or seen.before, omitted)
        lines.tell(seen)
        if seen.is_first or lines.are_told:
            break
    if lines is None:
        return {}
    lines.ignore(omitted)
    complete = None if lines.are_told else complete_from(place)
    return _marked(_in_order(lines.now, lines.told, model, complete), masked)


class _Seen(NamedTuple):
    """What a change tells of its row, with its columns under the names that they have now."""

    change: Change
    before: dict[str, Any]
    after: dict[str, Any]
    #: Columns of which it has no value, because settings left them out or their present name is not known.
    ignored: set[str]
    masked: set[str]
    erased: set[str]
    hidden: set[str]
    #: Columns that it has set, although their values do not tell it.
    changed: set[str]
    different: set[str]

    @classmethod
    def of(cls, change: Change, names: PresentNames, decrypter: Decrypter) -> _Seen:
        rows = decrypter.rows(change)
        hidden = {names.now(column) for column in rows.erased | rows.unreadable}
        # Equal values are encrypted alike.
        different = {
            names.now(column)
            for column, value in change.after.items()
            if dumps(change.before.get(column)) != dumps(value)
        }
        return cls(
            change,
            names.renamed(rows.before),
            names.renamed(rows.after),
            _named(change, "ignored", names).union(names.untold),
            _named(change, "masked", names) - set(map(names.now, encrypted_columns(change))),
            _named(change, "erased", names) | set(map(names.now, rows.erased)),
            hidden,
            _named(change, "changed", names) | (hidden & different),
            different,
        )

    @property
    def is_first(self) -> bool:
        """Whether the changes of a row begin with it."""
        return self.change.operation in _FIRST


class _Lines:
    """What is told of a row's columns, by its changes from the newest on."""

    def __init__(self, place: Place, now: dict[str, Any], omitted: Mapping[str, int]) -> None:
        self.now = now
        self.told: dict[str, Blame] = {}
        self._place = place
        self._omitted = omitted
        self._is_newest = True

    @property
    def are_told(self) -> bool:
        """Whether all of them are."""
        return self.now.keys() <= self.told.keys()

    def ignore(self, columns: Iterable[str]) -> None:
        """Tell of columns that the log does not have their values."""
        for column in self.now.keys() & set(columns) - self.told.keys():
            self.told[column] = Blame(column, self.now[column], is_ignored=True)

    def tell(self, seen: _Seen) -> None:
        """Tell which columns a change has set, the newest one first."""
        # Since then, these may have got other values without a trace.
        sequence = sequence_in(seen.change.pk.bytes)
        self.ignore({column for column, last in self._omitted.items() if sequence < last} | seen.ignored)
        # What is stored of a masked column is not its value, but tells who has set it.
        masked = (seen.masked & self.now.keys()) - seen.erased - self.told.keys()
        self._name(masked, seen, seen.changed | seen.different)
        without_value = (seen.erased | seen.hidden) & seen.after.keys()
        self._name(without_value, seen, seen.changed)
        self._compare(seen, seen.after.keys() & self.now.keys() - without_value - masked - self.told.keys())
        self._is_newest = False

    def _name(self, columns: Iterable[str], seen: _Seen, set_by: set[str]) -> None:
        """Name a change for those columns that it has set, without their values."""
        for column in self.now.keys() & set(columns) - self.told.keys():
            if seen.is_first or column in set_by:
                is_erased = column in seen.erased
                is_masked = column in seen.masked and not is_erased
                line = Blame(column, self.now[column], seen.change, is_erased=is_erased, is_masked=is_masked)
                self.told[column] = line

    def _compare(self, seen: _Seen, columns: Iterable[str]) -> None:
        """Tell of columns by their values."""
        after = {column: seen.after[column] for column in columns}
        for column, value in as_now(self._place, self.now, after).items():
            if dumps(value) != dumps(self.now[column]):
                # The worker has not written the next change yet, or DDL has computed the value since.
                self.told[column] = Blame(column, self.now[column], is_pending=self._is_newest)
            elif seen.is_first or dumps(seen.before.get(column)) != dumps(seen.after[column]):
                self.told[column] = Blame(column, value, seen.change, seen.before.get(column))


def _marked(found: dict[str, Blame], masked: set[str]) -> dict[str, Blame]:
    """Say of masked columns that they are, where no change has the value."""
    return {
        column: replace(line, is_pending=False, is_masked=True)
        if column in masked and line.change is None
        else line
        for column, line in found.items()
    }


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
