"""Read row messages of many megabytes, without the values that the log cannot hold.

Nothing is copied but the values that are kept: a message may have a gigabyte.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import error as StructError
from typing import NamedTuple, cast

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol.byte_layout import (
    KIND_AND_LENGTH,
    MARK_AT,
    NEW_ROW,
    NULL_VALUE,
    OID_AT,
    OLD_KEY,
    OLD_ROW,
    ROW_AT,
    TEXT_VALUE,
    UNCHANGED_VALUE,
)
from bemi_django.ingest.protocol.messages import (
    UNAVAILABLE,
    Delete,
    Insert,
    LargeRow,
    Relation,
    Row,
    Update,
)

#: Size in bytes from which a message is read here.
OVERSIZE = 4 * 1024 * 1024
#: Bytes that jsonb holds: of a string, and of all names and values of an object (JENTRY_OFFLENMASK).
LIMIT = 0x0FFFFFFF
#: Size in bytes from which a value is a view of the message.
_VIEWED = 1024 * 1024


class OversizeMessage(NamedTuple):
    """The message of a row, and a reason for each value that was left out."""

    message: Insert | Update | Delete
    reasons: list[str]


def read_oversize(
    data: bytes, relation_of: Callable[[int], Relation | None], limit: int = LIMIT
) -> OversizeMessage:
    """Read a message of kind ``I``, ``U`` or ``D``.

    Args:
        data: The message.
        relation_of: Returns the table of an oid as the stream described it.
        limit: How many bytes the names and values of one row may have; the largest values are left out.

    Raises:
        ProtocolError: If it is no row message, or one of a table that the stream has not described.
    """
    relation = relation_of(int.from_bytes(data[OID_AT:MARK_AT], "big"))
    if relation is None:
        raise ProtocolError("a row of a table that the stream has not described")
    try:
        return _Reader(data, relation, limit).read()
    except (LookupError, StructError, ValueError) as error:
        raise ProtocolError(f"undecodable message of type {data[:1]!r}") from error


class _Reader:
    def __init__(self, data: bytes, relation: Relation, limit: int) -> None:
        self._data = memoryview(data)
        self._kind = data[:1]
        self._relation = relation
        self._limit = limit
        self._reasons: list[str] = []

    def read(self) -> OversizeMessage:
        mark = bytes(self._data[MARK_AT:ROW_AT])
        old: Row | None = None
        end = ROW_AT
        if self._kind != b"I" and mark in (OLD_ROW, OLD_KEY):
            old, _, end = self._row(ROW_AT, "before")
            if mark == OLD_KEY:
                old = self._identity(old)
            mark = bytes(self._data[end : end + 1])
            end += 1
        if self._kind == b"D":
            if old is None:
                raise ValueError("a deletion without a row")
            return OversizeMessage(Delete(self._relation, old), self._reasons)
        if self._kind not in (b"I", b"U") or mark != NEW_ROW:
            raise ValueError("not a row message")
        new, unchanged, _ = self._row(end, "after")
        if self._kind == b"I":
            return OversizeMessage(Insert(self._relation, new), self._reasons)
        if old is None:
            # The columns of the identity did not change, otherwise they would have been sent.
            old = self._identity(new)
        after = LargeRow(old[n] if n in unchanged else value for n, value in enumerate(new))
        return OversizeMessage(Update(self._relation, old, after), self._reasons)

    def _row(self, offset: int, side: str) -> tuple[Row, set[int], int]:
        """Read one row; return its values, the columns that were not sent again, and where it ends."""
        columns = self._relation.columns
        count = int.from_bytes(self._data[offset : offset + 2], "big")
        if count != len(columns):
            raise ValueError("another number of columns")
        offset += 2
        spans: list[tuple[int, int] | None] = []
        unchanged: set[int] = set()
        for number in range(count):
            kind = self._data[offset]
            if kind == TEXT_VALUE:
                _, length = KIND_AND_LENGTH.unpack_from(self._data, offset)
                spans.append((offset + 5, length))
                offset += 5 + length
            elif kind in (NULL_VALUE, UNCHANGED_VALUE):
                spans.append(None)
                offset += 1
                if kind == UNCHANGED_VALUE:
                    unchanged.add(number)
            else:
                raise ValueError("an unknown kind of value")
        if offset > len(self._data):
            raise ValueError("a value is cut short")
        return self._values(spans, unchanged, side), unchanged, offset

    def _values(self, spans: list[tuple[int, int] | None], unchanged: set[int], side: str) -> Row:
        columns = self._relation.columns
        sizes = {number: span[1] for number, span in enumerate(spans) if span is not None}
        total = sum(sizes.values()) + sum(len(column.name.encode()) for column in columns)
        lost: set[int] = set()
        while total > self._limit and sizes:
            largest = max(sizes, key=sizes.__getitem__)
            self._reasons.append(
                f"{side}.{columns[largest].name}: {sizes[largest]} bytes are more than jsonb holds in a row"
            )
            total -= sizes.pop(largest)
            lost.add(largest)
        row = LargeRow()
        for number, span in enumerate(spans):
            if number in lost or number in unchanged:
                row.append(UNAVAILABLE)
            else:
                row.append(None if span is None else self._value(*span))
        return row

    def _value(self, offset: int, length: int) -> bytes:
        view = self._data[offset : offset + length]
        return cast(bytes, view) if length >= _VIEWED else bytes(view)

    def _identity(self, row: Row) -> Row:
        pairs = zip(self._relation.columns, row, strict=True)
        return LargeRow(value if column.in_identity else UNAVAILABLE for column, value in pairs)
