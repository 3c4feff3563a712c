"""Rows of the log as they were sealed: read in the binary format of COPY, with their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bemi_django.ingest.destination.sealing import SEALED_COLUMNS
from bemi_django.ingest.rows import copy_format
from bemi_django.ingest.rows.canonical_json import canonical, canonical_context
from bemi_django.wire.ids import source_in

_COLUMNS = ", ".join(f'"{name}"' for name in SEALED_COLUMNS)
_RANGE = """
COPY (SELECT {columns}, diverged FROM {log} WHERE id > '{after}' AND id <= '{last}' ORDER BY id)
TO STDOUT (FORMAT binary)
"""
_COUNT = len(SEALED_COLUMNS).to_bytes(2, "big")
_CONTEXT = SEALED_COLUMNS.index("context")
_JSON = tuple(SEALED_COLUMNS.index(name) for name in ("before", "after", "unavailable"))


class LoggedRow(NamedTuple):
    """A row of the log; ``fields`` are those of COPY, each with its length."""

    fields: list[bytes]
    is_diverged: bool

    @property
    def id(self) -> bytes:
        """The id of the change, 16 bytes."""
        return self.value("id") or b""

    @property
    def source(self) -> int:
        """The number of the source in the id."""
        return source_in(self.id)

    @property
    def committed_at(self) -> int:
        """The commit time, in microseconds since 2000-01-01 UTC."""
        return int.from_bytes(self.value("committed_at") or b"", "big", signed=True)

    @property
    def position(self) -> int:
        """The commit LSN."""
        return int.from_bytes(self.value("position") or b"", "big", signed=True)

    def value(self, column: str) -> bytes | None:
        """Return the value of a column in its binary format, or None for NULL."""
        field = self.fields[SEALED_COLUMNS.index(column)]
        return None if field == copy_format.NULL else field[4:]

    def has_digest(self, digest: bytes, salt: bytes) -> bool:
        """Return whether this is the row that was sealed with a digest and a salt."""
        if hashlib.sha256(salt + sealed_fields(self.fields)).digest() == digest:
            return True
        # A database in another encoding, or a version of the server that prints jsonb otherwise.
        fields = _replaced(self.fields, _JSON, _canonical)
        return hashlib.sha256(salt + sealed_fields(fields)).digest() == digest


def read_rows(
    cursor: Any, log: str, after: bytes, last: bytes, receive: Callable[[LoggedRow], object]
) -> None:
    """Read the rows of the log with ids after one and up to another, in their order.

    Args:
        cursor: A cursor of psycopg2.
        log: The name of the log.
        after: An id, 16 bytes.
        last: An id, 16 bytes.
        receive: Called with each row.
    """
    query = _RANGE.format(columns=_COLUMNS, log=log, after=after.hex(), last=last.hex())
    cursor.copy_expert(query, _Incoming(receive))


class _Incoming:
    """A file that takes the rows of a COPY, each of which is one message of the server."""

    def __init__(self, receive: Callable[[LoggedRow], object]) -> None:
        self._receive = receive
        self._is_begun = False

    def write(self, message: bytes) -> int:
        row = message
        if not self._is_begun:
            self._is_begun = True
            row = row[len(copy_format.HEADER) :]
        if row and row != copy_format.TRAILER:
            self._receive(_parsed(row))
        return len(message)


def _parsed(row: bytes) -> LoggedRow:
    place, fields = 2, []
    for _ in SEALED_COLUMNS:
        end = place + 4 + max(int.from_bytes(row[place : place + 4], "big", signed=True), 0)
        fields.append(row[place:end])
        place = end
    return LoggedRow(fields, row[-1:] == b"\1")


def sealed_fields(fields: Sequence[bytes]) -> bytes:
    """Return what the digest of a row is of, after its salt, given the fields of COPY."""
    return b"".join((_COUNT, *_replaced(fields, (_CONTEXT,), canonical_context)))


def _replaced(
    fields: Sequence[bytes], numbers: Sequence[int], render: Callable[[bytes], bytes]
) -> list[bytes]:
    """Return fields of which some, that hold jsonb, are rendered by a function."""
    changed = list(fields)
    for number in numbers:
        if changed[number] != copy_format.NULL:
            # After the length comes the version of the format.
            changed[number] = copy_format.jsonb(render(changed[number][5:]))
    return changed


def _canonical(text: bytes) -> bytes:
    try:
        return canonical(text)
    except ValueError:
        return text
