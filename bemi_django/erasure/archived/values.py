"""The values of a person in the files of an archive, and the changes of keys there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from bemi_django.archive.location import Location
from bemi_django.erasure.archived.change import ArchivedChange, rows_of_part
from bemi_django.erasure.archived.files import manifests_of
from bemi_django.erasure.targets.target import Target, looks_like_number
from bemi_django.erasure.values import MOST, texts_in
from bemi_django.log.identity import RowLog
from bemi_django.log.lossless_json import loads
from bemi_django.log.places import Place


class ArchivedMove(NamedTuple):
    """A change of a row, mostly one of its key."""

    id: UUID
    primary_key: str | None
    previous_primary_key: str | None
    position: int
    before: Any
    after: Any


class WholeLog:
    """All changes of a table, of the log and of its archive.

    Args:
        live: Those of the log.
        location: The archive.
        place: The table.
    """

    def __init__(self, live: RowLog, location: Location, place: Place) -> None:
        self._live = live
        self._location = location
        self._place = place
        self._moves: list[ArchivedMove] | None = None

    def moves(self, key: str) -> Sequence[Any]:
        """Return the changes by which a row came to a key or left it, the newest first, unless diverged."""
        if self._moves is None:
            rows = (
                row for row in self._rows() if row["previous_primary_key"] is not None and not row["diverged"]
            )
            self._moves = [_move(row) for row in rows]
        own = [move for move in self._moves if key in (move.primary_key, move.previous_primary_key)]
        found = {move.id: move for move in [*own, *self._live.moves(key)]}
        return sorted(found.values(), key=lambda move: move.id, reverse=True)

    def is_used_after(self, key: str, change_id: UUID) -> bool:
        """Return whether a later change is of a row with this key."""
        return self._live.is_used_after(key, change_id) or any(
            row.text("primary_key") == key and UUID(row["id"].decode()) > change_id for row in self._rows()
        )

    def between(self, key: str, start: UUID, end: UUID) -> Sequence[Any]:
        """Return the changes between two, the oldest first, that rows with this key have kept it in."""
        rows = (row for row in self._rows() if not row["diverged"] and row.text("primary_key") == key)
        kept = [_move(row) for row in rows if row["previous_primary_key"] is None]
        own = [change for change in kept if start < change.id < end]
        found = {change.id: change for change in [*own, *self._live.between(key, start, end)]}
        return sorted(found.values(), key=lambda change: change.id)

    def has_text(self, columns: Iterable[str], key: str) -> bool:
        """Return whether archived rows have a key, which looks like a number, as a text."""
        if not looks_like_number(key):
            return False
        names = list(columns)
        return any(
            loads(row[side].decode()).get(name) == key
            for row in self._rows()
            if key in (row.text("primary_key"), row.text("previous_primary_key"))
            for side in ("before", "after")
            for name in names
        )

    def _rows(self) -> Iterator[ArchivedChange]:
        for row in _all_rows(self._location):
            if tuple(row.text(name) for name in ("database", "schema", "table")) == self._place:
                yield row


def archived_values_of(location: Location, targets: Iterable[Target]) -> set[str]:
    """Return the values in the archived changes of targets, as text, without their keys."""
    found: set[str] = set()
    wanted = list(targets)
    for row in _all_rows(location):
        for target in wanted:
            if len(found) < MOST and row.is_of(target):
                for side in row.sides(target):
                    found.update(texts_in(loads(row[side].decode()), target.kept))
    return found


def _all_rows(location: Location) -> Iterator[ArchivedChange]:
    for manifest in manifests_of(location):
        for part in manifest.parts:
            yield from rows_of_part(location, manifest, part)


def _move(row: ArchivedChange) -> ArchivedMove:
    return ArchivedMove(
        UUID(row["id"].decode()),
        row.text("primary_key"),
        row.text("previous_primary_key"),
        row["position"],
        loads(row["before"].decode()),
        loads(row["after"].decode()),
    )
