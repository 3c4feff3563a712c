"""Count the changes that are written, by hour, operation, table, and who made them where."""

from __future__ import annotations

import io
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from struct import Struct
from typing import Any

import orjson
import psycopg2

from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.protocol.messages import Begin
from bemi_django.ingest.rows.copy_format import HEADER, TRAILER, jsonb
from bemi_django.ingest.stitching.operations import CREATE, DELETE, EVENT, UPDATE
from bemi_django.ingest.stitching.stitched import ChangeHeader

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
_AFTER_ID = 22
_LENGTH = Struct(">i")
#: Operations of messages of one row, by the first byte.
_OPERATIONS = {b"I": CREATE, b"U": UPDATE, b"D": DELETE}
#: The greatest number of names of a kind in an hour; all others are counted together.
MOST = 200
_KEY = re.compile(
    r"/(?:[0-9]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16,})(?=/|\Z)"
)

#: Kind, name and detail, as in the table.
Name = tuple[str, str, str]
#: An hour since 2000, database and schema, and the table if it is one of an event, which anybody may invent.
_Where = tuple[int, str, str, str | None]
#: What the context says, as JSON for the database to read if it is not a text or an integer.
_Names = tuple[Name, ...] | bytes
#: An hour since 2000, the fields of the place, the operation, and what the context says.
_Key = tuple[int, bytes, str, _Names]
#: An hour since 2000, database, schema and kind.
_Crowd = tuple[int, str, str, str]


class ActivityCounts:
    """Counts rows that the destination has taken, until :meth:`write` adds them to ``_bemi.activity``."""

    def __init__(self) -> None:
        self._counts: dict[_Key, int] = {}
        # What the last context says.
        self._context = b""
        self._names: _Names = names_of(b"{}")
        # Names that have a count of their own, of the last hours.
        self._known: dict[_Crowd, set[Name]] = {}

    def add(self, rows: Sequence[Pending]) -> None:
        """Count rows."""
        counts = self._counts
        begin: Begin | None = None
        context = place = kind = b""
        key: _Key = (0, b"", "", ())
        count = 0
        for row, change, message in rows:
            if (
                change.context is context
                and change.begin is begin
                and message[:1] == kind
                and row.startswith(place, _AFTER_ID)
            ):
                count += 1
                continue
            if count:
                counts[key] = counts.get(key, 0) + count
            begin, count = change.begin, 1
            if change.__class__ is ChangeHeader and (operation := _OPERATIONS.get(message[:1])):
                context, kind = change.context, message[:1]
                *_, end = _ends(row, _AFTER_ID, 3)
                place = row[_AFTER_ID:end]
                key = begin.committed_at // _HOUR, place, operation, self._names_of(context)
            else:
                # The row may have less than the change.
                key = self._key_of_row(row, begin)
                context = place = kind = b"?"
        if count:
            counts[key] = counts.get(key, 0) + count

    def write(self, cursor: Any) -> None:
        """Add what was counted to what the log has, in the transaction of the rows.

        The log does not stop if the counts are refused: they are left out, and a warning says what to do.

        Raises:
            psycopg2.Error: The destination cannot be reached, or something that passes or a right is missing.
        """
        if not self._counts:
            return
        hours = {hour for hour, *_others in self._counts}
        entries = orjson.dumps(list(self._entries()))
        self._counts = {}
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

    def _key_of_row(self, row: bytes, begin: Begin) -> _Key:
        ends = list(_ends(row, _AFTER_ID, 8))
        # A byte of the format comes before the text of the context.
        names = self._names_of(row[ends[6] + 5 : ends[7]])
        operation = row[ends[3] + 4 : ends[4]].decode()
        return begin.committed_at // _HOUR, row[_AFTER_ID : ends[2]], operation, names

    def _names_of(self, context: bytes) -> _Names:
        if context is not self._context:
            self._context, self._names = context, names_of(context)
        return self._names

    def _entries(self) -> Iterator[dict[str, Any]]:
        """Yield the counts by operation, by table, and by each name that a context has."""
        found: defaultdict[tuple[_Where, Name | bytes], int] = defaultdict(int)
        places: dict[bytes, list[str]] = {}
        for (hour, place, operation, names), count in self._counts.items():
            if place not in places:
                places[place] = list(_texts(place, 3))
            database, schema, table = places[place]
            where = hour, database, schema, table if operation == EVENT else None
            found[(where, ("operation", operation, ""))] += count
            found[(where, ("table", table, ""))] += count
            for name in (names,) if isinstance(names, bytes) else names:
                found[(where, name)] += count
        merged: defaultdict[tuple[_Where, Name | bytes], int] = defaultdict(int)
        for (where, name), count in found.items():
            merged[(where, self._placed(where, name))] += count
        for ((hour, database, schema, event_table), name), count in merged.items():
            entry = {"hour": hour, "database": database, "schema": schema, "changes": count}
            if event_table is not None:
                entry["event_table"] = event_table
            if isinstance(name, bytes):
                yield {**entry, "context": orjson.Fragment(name)}
            else:
                yield {**entry, "kind": name[0], "name": name[1], "detail": name[2]}

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


def names_of(context: bytes) -> _Names:
    """Return by what a context lets its change be counted, as ``_bemi.activity_of_v1`` does."""
    try:
        found = orjson.loads(context)
        user, tenant = _text(found.get("user_id")), _text(found.get("tenant"))
        method, task, command = (_text(found.get(key)) for key in ("method", "task", "command"))
        endpoint = _text(found.get("route"))
        if not endpoint and (endpoint := _text(found.get("endpoint"))):
            endpoint = _KEY.sub("/<id>", endpoint)
        names: list[Name] = []
        if user:
            names.append(("user", user[:200], tenant[:100]))
        if endpoint:
            names.append(("endpoint", endpoint[:200], method[:100]))
        if task:
            names.append(("task", task[:200], ""))
        if command:
            names.append(("command", command[:200], ""))
        if not found or "db_user" in found:
            names.append(("outside", _text(found.get("db_user"))[:200], ""))
    except (ValueError, AttributeError, TypeError):
        # It is nested deeply, is no object, or has values that are printed in ways of their own.
        return context
    return tuple(names)


def _text(value: Any) -> str:
    if value.__class__ is str:
        return value
    if value is None:
        return ""
    if value.__class__ is int:
        return str(value)
    raise TypeError


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
