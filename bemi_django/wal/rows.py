"""A stitched change to a row of ``changes``, in the binary format of COPY."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import NamedTuple

import orjson

from bemi_django.wal.image import Image, make_image
from bemi_django.wal.messages import UNAVAILABLE, Begin, Relation, Row
from bemi_django.wal.stitcher import NO_CONTEXT, Place, Stitched
from bemi_django.wal.values import Encoder, canonical, text

COLUMNS = (
    "id",
    "database",
    "schema",
    "table",
    "primary_key",
    "operation",
    "before",
    "after",
    "context",
    "committed_at",
    "queued_at",
    "transaction_id",
    "position",
    "previous_primary_key",
    "partition",
    "unavailable",
)

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

#: From 1970 to 2000, where PostgreSQL's timestamps start.
EPOCH_SECONDS = 946_684_800
_EPOCH = EPOCH_SECONDS * 1_000_000
_LENGTH = Struct(">i").pack
# How many fields follow, and the length of the first, the id.
_START = Struct(">hi").pack(len(COLUMNS), 16)
_ID = Struct(">QQ").pack
# The variant of a UUID.
_SECOND_HALF = 1 << 63
_INT64 = Struct(">iq").pack
_TWO_INT64 = Struct(">iqiq").pack
#: A field without a value.
NULL = b"\xff\xff\xff\xff"
_JSONB = Struct(">ib").pack
_JSONB_VERSION = 1
#: The JSON of a row that is not there.
NO_ROW = b"{}"


class Computed(NamedTuple):
    """The last columns, which the stream leaves out; ``compute`` makes their values from the others."""

    width: int
    compute: Callable[[Row], Row]


class Shape(NamedTuple):
    """How the rows of one relation are written: columns in their order, key columns by number.

    ``template`` is what :func:`template` makes of the names, ``partition`` a field, ``image`` a function for
    all of that, None where each row needs care. It holds for rows from the LSN ``since`` to ``until``.
    """

    head: bytes
    names: tuple[str, ...]
    template: bytes
    encoders: tuple[Encoder, ...]
    key: tuple[int, ...]
    partition: bytes = NULL
    computed: Computed | None = None
    since: int = 0
    until: int = 1 << 64
    image: Image | None = None


def with_image(shape: Shape) -> Shape:
    """The shape with the function for its rows."""
    if shape.computed is not None or len(shape.key) > 1:
        return shape
    key = shape.key[0] if shape.key else None
    return shape._replace(image=make_image(shape.template, shape.encoders, key))


class Lost(NamedTuple):
    """Columns, by number, whose values cannot be written."""

    before: frozenset[int] = frozenset()
    after: frozenset[int] = frozenset()


NOTHING = Lost()


def change_id(commit_lsn: int, ordinal: int, source: int) -> bytes:
    """A UUIDv8 (RFC 9562) that sorts in commit order: LSN, ordinal, 30 bits of the source."""
    return _ID(_first_half(commit_lsn), _SECOND_HALF | ordinal << 30 | source)


def _first_half(commit_lsn: int) -> int:
    # A commit LSN is a multiple of 8, so 60 bits hold it.
    lsn = commit_lsn >> 3
    return (lsn >> 12) << 16 | 0x8000 | (lsn & 0xFFF)


def source_of(system_identifier: str, database: str) -> int:
    """The 30 bits of an id that tell one source from another."""
    digest = hashlib.sha256(f"{system_identifier}/{database}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 2


class RowWriter:
    """Renders changes of one source; ``shapes`` tells how a change may be written, the likeliest first."""

    def __init__(
        self, system_identifier: str, database: str, xid: int, shapes: Callable[[Stitched], Iterator[Shape]]
    ) -> None:
        self.source = source_of(system_identifier, database)
        self._xid = xid
        self._shapes_of = shapes
        #: By the oid of the table: as the stream described it, and how its rows are written.
        self.known: dict[int, tuple[Relation, Shape]] = {}
        self._begin: Begin | None = None
        self._first_half = 0
        self._committed_at = self._transaction = b""
        self._context, self._context_field = NO_CONTEXT, _jsonb(NO_CONTEXT)

    def row(self, change: Stitched, lost: Lost = NOTHING) -> bytes:
        """The change as COPY takes it. Raises ValueError or LookupError for a value its type cannot have."""
        return self._row(self.shape(change), change, lost)

    def row_of_another_shape(self, change: Stitched) -> bytes:
        """The change by whatever else is known of its table, which then holds for the next rows too."""
        failure: Exception = LookupError("nothing is known of the table")
        for shape in self._shapes_of(change):
            try:
                row = self._row(shape, change, NOTHING)
            except (ValueError, LookupError) as error:
                failure = error
            else:
                self.known[change.relation.oid] = change.relation, shape
                return row
        raise failure

    def _row(self, shape: Shape, change: Stitched, lost: Lost) -> bytes:
        old, new = _complete(shape, change.before), _complete(shape, change.after)
        before, no_before = _object(shape, old, lost.before)
        after, no_after = _object(shape, new, lost.after)
        key = _key(shape, new, lost.after) if new else _key(shape, old, lost.before)
        old_key = _key(shape, old, lost.before) if new else NULL
        unavailable = _unavailable(no_before, no_after)
        return self.assemble(
            shape, change, OPERATIONS[change.operation], before, after, key, old_key, unavailable
        )

    def assemble(
        self,
        shape: Shape,
        place: Place | Stitched,
        operation: bytes,
        before: bytes,
        after: bytes,
        key: bytes,
        old_key: bytes,
        unavailable: bytes = NULL,
    ) -> bytes:
        """The row for COPY: ``before`` and ``after`` are JSON, the others fields as of :func:`field`."""
        begin, context = place.begin, place.context
        if begin is not self._begin:
            self._begin = begin
            self._first_half = _first_half(begin.commit_lsn)
            self._committed_at = _INT64(8, begin.committed_at)
            self._transaction = _TWO_INT64(8, self.full_xid(begin.xid), 8, begin.commit_lsn)
        if context is not self._context:
            self._context, self._context_field = context, _jsonb(context)
        return b"".join(
            (
                _START,
                _ID(self._first_half, _SECOND_HALF | place.ordinal << 30 | self.source),
                shape.head,
                key,
                operation,
                _JSONB(len(before) + 1, _JSONB_VERSION),
                before,
                _JSONB(len(after) + 1, _JSONB_VERSION),
                after,
                self._context_field,
                self._committed_at,
                _INT64(8, time.time_ns() // 1000 - _EPOCH),
                self._transaction,
                old_key if old_key != key else NULL,
                shape.partition,
                unavailable,
            )
        )

    def salvage(self, change: Stitched, accepts: Callable[[bytes], bool]) -> tuple[Lost, list[str]]:
        """Find the values that cannot be rendered or are not accepted, and the reasons in words."""
        shape = self.shape(change)
        reasons: list[str] = []
        old, new = _complete(shape, change.before), _complete(shape, change.after)
        before = frozenset(_failing(shape, old, accepts, "before", reasons))
        after = frozenset(_failing(shape, new, accepts, "after", reasons))
        return Lost(before, after), reasons

    def shape(self, change: Stitched) -> Shape:
        relation = change.relation
        lsn = change.lsn or change.begin.commit_lsn
        known = self.known.get(relation.oid)
        if known is None or known[0] is not relation or not known[1].since <= lsn < known[1].until:
            known = self.known[relation.oid] = relation, next(self._shapes_of(change))
        return known[1]

    def forget(self) -> None:
        """Ask for every shape again: there was DDL."""
        self.known.clear()

    def full_xid(self, xid: int) -> int:
        """The transaction id that the protocol sends the low 32 bits of: the nearest to one seen before."""
        distance = (xid - self._xid) & 0xFFFFFFFF
        full = self._xid + (distance if distance < 1 << 31 else distance - (1 << 32))
        self._xid = max(self._xid, full)
        return full


def field(value: bytes) -> bytes:
    """A value as COPY takes it."""
    return _LENGTH(len(value)) + value


OPERATIONS = {
    operation: field(operation.encode())
    for operation in ("CREATE", "UPDATE", "DELETE", "TRUNCATE", "SKIPPED")
}


def head(database: str, schema: str, table: str) -> bytes:
    """The fields that all rows of a table share."""
    return b"".join(field(name.encode()) for name in (database, schema, table))


def template(columns: Iterable[str]) -> bytes:
    """A JSON object with a place for the value of each column, for the operator ``%``."""
    return b"{" + b",".join(_label(column).replace(b"%", b"%%") + b"%b" for column in columns) + b"}"


def _label(column: str) -> bytes:
    return text(column.encode()) + b": "


def _jsonb(value: bytes) -> bytes:
    return _JSONB(len(value) + 1, _JSONB_VERSION) + value


def _complete(shape: Shape, row: Row | None) -> Row | None:
    """The row with the columns that the stream leaves out."""
    if row is None or shape.computed is None:
        return row
    width, compute = shape.computed
    if any(value is UNAVAILABLE for value in row):
        # They may be made of what is missing.
        return row + [UNAVAILABLE] * width
    try:
        return row + compute(row)
    except ValueError:
        return row + [UNAVAILABLE] * width


def _object(shape: Shape, row: Row | None, lost: frozenset[int]) -> tuple[bytes, list[str]]:
    """The row as a JSON object, and the names of the columns that are not in it."""
    if row is None:
        return NO_ROW, []
    if not lost and UNAVAILABLE not in row:
        values = [
            b"null" if value is None else encode(value)
            for encode, value in zip(shape.encoders, row, strict=True)
        ]
        return shape.template % tuple(values), []
    pairs: list[bytes] = []
    missing: list[str] = []
    columns = zip(shape.names, shape.encoders, row, strict=True)
    for number, (name, encode, value) in enumerate(columns):
        if value is None:
            pairs.append(_label(name) + b"null")
        elif value is UNAVAILABLE or number in lost:
            missing.append(name)
        else:
            pairs.append(_label(name) + encode(value))
    return b"{" + b",".join(pairs) + b"}", missing


def _failing(
    shape: Shape, row: Row | None, accepts: Callable[[bytes], bool], side: str, reasons: list[str]
) -> Iterator[int]:
    if row is None:
        return
    for number, (name, encode, value) in enumerate(zip(shape.names, shape.encoders, row, strict=True)):
        if value is None or value is UNAVAILABLE:
            continue
        try:
            rendered = encode(value)
            rendered.decode()
        except (ValueError, LookupError) as error:
            reasons.append(f"{side}.{name}: {type(error).__name__}")
            yield number
        else:
            if not accepts(rendered):
                reasons.append(f"{side}.{name}: not accepted as jsonb")
                yield number


def _unavailable(before: list[str], after: list[str]) -> bytes:
    if not before and not after:
        return NULL
    sides = {"before": before, "after": after}
    return _jsonb(orjson.dumps({side: names for side, names in sides.items() if names}))


def _key(shape: Shape, row: Row | None, lost: frozenset[int]) -> bytes:
    """A key column as its text, several as a jsonb array; NULL when there is no key or it is not known."""
    if not row or not shape.key:
        return NULL
    values: list[bytes] = []
    for number in shape.key:
        value = row[number]
        if value is None or value is UNAVAILABLE or number in lost:
            return NULL
        values.append(value)
    if len(values) == 1:
        return field(values[0])
    rendered = [shape.encoders[number](value) for number, value in zip(shape.key, values, strict=True)]
    # As the server prints jsonb, so that a key can be looked for.
    printed = [value if value[:1] == b'"' else canonical(value) for value in rendered]
    return field(b"[" + b", ".join(printed) + b"]")
