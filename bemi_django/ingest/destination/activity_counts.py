"""Count the changes that are written, by hour, operation, table, and who made them where."""

from __future__ import annotations

import io
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from struct import Struct
from typing import Any

import orjson
import psycopg2

from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.protocol.messages import Begin
from bemi_django.ingest.rows.copy_format import HEADER, ID_AT, TRAILER, jsonb
from bemi_django.ingest.rows.large_rows import LargeCopyRow
from bemi_django.ingest.stitching.activity_names import Name, Names, names_of
from bemi_django.ingest.stitching.operations import CREATE, DELETE, EVENT, UPDATE
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched

logger = logging.getLogger(__name__)

# As binary COPY: the values of a statement would be in the server's log if it failed.
_COPY = "COPY _bemi.activity_entries (entries) FROM STDIN (FORMAT binary)"
_FIELDS = Struct(">h").pack(1)
_HOUR = 3_600_000_000
_EPOCH = datetime(2000, 1, 1)
# Errors that come again with the same counts: of data, of constraints, of limits, and of a damaged table.
_LASTING = ("21", "22", "23", "54", "P0", "XX")
#: Where the fields of a row begin that follow its id: database, schema, table, key, operation, before,
#: after and context.
_AFTER_ID = ID_AT.stop
_LENGTH = Struct(">i")
#: Operations of messages of one row, by the first byte.
_OPERATIONS = {b"I": CREATE, b"U": UPDATE, b"D": DELETE}
#: The greatest number of names of a kind in an hour; all others are counted together.
MOST = 200

#: An hour since 2000, database and schema, and the table if it is one of an event, which anybody may invent.
_Where = tuple[int, str, str, str | None]
#: An hour since 2000, the fields of the place, and whether its changes are events.
_Key = tuple[int, bytes, bool]
#: An hour since 2000, database, schema and kind.
_Crowd = tuple[int, str, str, str]


class _Tally:
    """The numbers of the changes of a table in an hour: by operation, and by what their contexts say."""

    __slots__ = ("names", "operations")

    def __init__(self) -> None:
        self.operations: defaultdict[str, int] = defaultdict(int)
        self.names: defaultdict[Names, int] = defaultdict(int)


class ActivityCounts:
    """Counts rows that the destination has taken, until :meth:`write` adds them to ``_bemi.activity``."""

    def __init__(self) -> None:
        self._tallies: defaultdict[_Key, _Tally] = defaultdict(_Tally)
        # By the table's oid: the fields of the place that its last row has.
        self._places: dict[int, bytes] = {}
        # What the last context says.
        self._context = b""
        self._names: Names = names_of(b"{}")
        # Names that have a count of their own, of the last hours.
        self._known: dict[_Crowd, set[Name]] = {}

    def add(self, rows: Sequence[Pending]) -> None:
        """Count rows."""
        begin: Begin | None = None
        context: bytes | None = None
        place = kind = b""
        tally, operation, count = _Tally(), "", 0
        for row, change, message in rows:
            if isinstance(row, LargeCopyRow):
                row = row.brief()
            if (
                change.context is context
                and change.begin is begin
                and message[:1] == kind
                and row.startswith(place, _AFTER_ID)
            ):
                count += 1
                continue
            if count:
                tally.operations[operation] += count
                tally.names[self._names] += count
                count = 0
            if change.__class__ is ChangeHeader and (said := _OPERATIONS.get(message[:1])):
                begin, context, kind, operation = change.begin, change.context, message[:1], said
                place = self._place_of(row, change.relation.oid)
                tally = self._tallies[begin.committed_at // _HOUR, place, False]
                self._follow(context)
                count = 1
            else:
                # The row may have less than the change.
                context = None
                self._add_row(row, change)
        if count:
            tally.operations[operation] += count
            tally.names[self._names] += count

    def write(self, cursor: Any) -> None:
        """Add what was counted to what the log has, in the transaction of the rows.

        The log does not stop if the counts are refused: they are left out, and a warning says what to do.

        Raises:
            psycopg2.Error: The destination cannot be reached, or something that passes or a right is missing.
        """
        if not self._tallies:
            return
        hours = {hour for hour, *_others in self._tallies}
        entries = orjson.dumps(list(self._entries()))
        self._tallies.clear()
        data = io.BytesIO(HEADER + _FIELDS + jsonb(entries) + TRAILER)
        cursor.execute("SAVEPOINT counts")
        try:
            cursor.copy_expert(_COPY, data)
        except psycopg2.Error as error:
            if (error.pgcode or "")[:2] not in _LASTING:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT counts")
            first, last = (_EPOCH + timedelta(hours=hour) for hour in (min(hours), max(hours)))
            # The error may have values.
            logger.warning(
                "changes were not counted (SQLSTATE %s): run SELECT _bemi.recount_v1('%s', '%s')",
                error.pgcode, f"{first.date()} 00:00+00", f"{last.date()} 00:00+00",
            )  # fmt: skip
        cursor.execute("RELEASE SAVEPOINT counts")

    def _place_of(self, row: bytes, table: int) -> bytes:
        """Return the fields of the place of a row that is one of a table, given by its oid."""
        place = self._places.get(table, b"?")
        if not row.startswith(place, _AFTER_ID):
            *_, end = _ends(row, _AFTER_ID, 3)
            place = self._places[table] = row[_AFTER_ID:end]
        return place

    def _add_row(self, row: bytes, change: Stitched | ChangeHeader) -> None:
        """Count a row by what is in it."""
        place = self._place_of(row, change.relation.oid)
        key, operated, _before, after, context = _ends(row, _AFTER_ID + len(place), 5)
        operation = row[key + 4 : operated].decode()
        tally = self._tallies[change.begin.committed_at // _HOUR, place, operation == EVENT]
        # A byte of the format comes before the text of the context.
        self._follow(row[after + 5 : context])
        tally.operations[operation] += 1
        tally.names[self._names] += 1

    def _follow(self, context: bytes) -> None:
        if context != self._context:
            self._context, self._names = context, names_of(context)

    def _entries(self) -> Iterator[dict[str, Any]]:
        """Yield the counts by operation, by table, and by each name that a context has."""
        found: defaultdict[_Where, defaultdict[Name | bytes, int]] = defaultdict(lambda: defaultdict(int))
        for (hour, place, is_event), tally in self._tallies.items():
            database, schema, table = _texts(place, 3)
            counts = found[hour, database, schema, table if is_event else None]
            for operation, count in tally.operations.items():
                counts["operation", operation, ""] += count
                counts["table", table, ""] += count
            for names, count in tally.names.items():
                for name in (names,) if isinstance(names, bytes) else names:
                    counts[name] += count
        for where, counts in found.items():
            hour, database, schema, event_table = where
            entry = {"hour": hour, "database": database, "schema": schema}
            if event_table is not None:
                entry["event_table"] = event_table
            merged: defaultdict[Name | bytes, int] = defaultdict(int)
            for name, count in counts.items():
                merged[self._placed(where, name)] += count
            for name, count in merged.items():
                if isinstance(name, bytes):
                    yield {**entry, "changes": count, "context": orjson.Fragment(name)}
                else:
                    yield {**entry, "changes": count, "kind": name[0], "name": name[1], "detail": name[2]}

    def _placed(self, where: _Where, name: Name | bytes) -> Name | bytes:
        """Return the name, or that of all others if its kind has enough of them."""
        if isinstance(name, bytes) or name[0] in {"operation", "table"}:
            return name
        hour, database, schema, _event_table = where
        crowd = hour, database, schema, name[0]
        known = self._known.get(crowd)
        if known is None:
            if len(self._known) > MOST:
                self._known.clear()
            known = self._known[crowd] = set()
        if name not in known:
            if len(known) >= MOST:
                return name[0], "", ""
            known.add(name)
        return name


def _ends(fields: bytes, begin: int, count: int) -> Iterator[int]:
    """Yield where fields end, the first of which begins at a place."""
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(fields, begin)
        begin += 4 + max(length, 0)
        yield begin


def _texts(fields: bytes, count: int) -> Iterator[str]:
    begin = 0
    for end in _ends(fields, 0, count):
        yield fields[begin + 4 : end].decode(errors="replace")
        begin = end
