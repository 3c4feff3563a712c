"""A stitched change to a row of ``changes``, in the binary format of COPY."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple

import orjson

from bemi_django.ingest.protocol.messages import UNAVAILABLE, Begin, Relation, Row
from bemi_django.ingest.rows.copy_format import NULL, field, int64, jsonb
from bemi_django.ingest.rows.row_layout import RowLayout, label
from bemi_django.ingest.rows.stitcher import NO_CONTEXT, ChangeHeader, Stitched
from bemi_django.ingest.rows.values import canonical
from bemi_django.wire.ids import change_id, source_of

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

#: From 1970 to 2000, where PostgreSQL's timestamps start.
EPOCH_SECONDS = 946_684_800
_EPOCH = EPOCH_SECONDS * 1_000_000
# How many fields follow, and the length of the first, the id.
_START = Struct(">hi").pack(len(COLUMNS), 16)
#: The JSON of a row that is not there.
NO_ROW = b"{}"
OPERATIONS = {
    operation: field(operation.encode())
    for operation in ("CREATE", "UPDATE", "DELETE", "TRUNCATE", "SKIPPED")
}


class Lost(NamedTuple):
    """Columns, by number, whose values cannot be written."""

    before: frozenset[int] = frozenset()
    after: frozenset[int] = frozenset()


NOTHING = Lost()


class RowWriter:
    """Renders changes of one source; ``layouts`` tells how a change may be written, the likeliest first."""

    def __init__(
        self,
        system_identifier: str,
        database: str,
        xid: int,
        layouts: Callable[[Stitched], Iterator[RowLayout]],
    ) -> None:
        self.source = source_of(system_identifier, database)
        self._xid = xid
        self._layouts_of = layouts
        #: By the oid of the table: as the stream described it, and how its rows are written.
        self.known: dict[int, tuple[Relation, RowLayout]] = {}
        self._begin: Begin | None = None
        self._committed_at = self._transaction = b""
        self._context, self._context_field = NO_CONTEXT, jsonb(NO_CONTEXT)

    def row(self, change: Stitched, lost: Lost = NOTHING) -> bytes:
        """The change as COPY takes it. Raises ValueError or LookupError for a value its type cannot have."""
        return self._row(self.layout(change), change, lost)

    def row_of_another_layout(self, change: Stitched) -> bytes:
        """The change by whatever else is known of its table, which then holds for the next rows too."""
        failure: Exception = LookupError("nothing is known of the table")
        for layout in self._layouts_of(change):
            try:
                row = self._row(layout, change, NOTHING)
            except (ValueError, LookupError) as error:
                failure = error
            else:
                self.known[change.relation.oid] = change.relation, layout
                return row
        raise failure

    def _row(self, layout: RowLayout, change: Stitched, lost: Lost) -> bytes:
        old, new = _complete(layout, change.before), _complete(layout, change.after)
        before, no_before = _object(layout, old, lost.before)
        after, no_after = _object(layout, new, lost.after)
        key = _key(layout, new, lost.after) if new else _key(layout, old, lost.before)
        old_key = _key(layout, old, lost.before) if new else NULL
        unavailable = _unavailable(no_before, no_after)
        return self.assemble(
            layout, change, OPERATIONS[change.operation], before, after, key, old_key, unavailable
        )

    def assemble(
        self,
        layout: RowLayout,
        place: ChangeHeader | Stitched,
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
            self._committed_at = int64(begin.committed_at)
            self._transaction = int64(self.full_xid(begin.xid)) + int64(begin.commit_lsn)
        if context is not self._context:
            self._context, self._context_field = context, jsonb(context)
        return b"".join(
            (
                _START,
                change_id(begin.commit_lsn, place.ordinal, self.source),
                layout.head,
                key,
                operation,
                jsonb(before),
                jsonb(after),
                self._context_field,
                self._committed_at,
                int64(time.time_ns() // 1000 - _EPOCH),
                self._transaction,
                old_key if old_key != key else NULL,
                layout.partition,
                unavailable,
            )
        )

    def salvage(self, change: Stitched, accepts: Callable[[bytes], bool]) -> tuple[Lost, list[str]]:
        """Find the values that cannot be rendered or are not accepted, and the reasons in words."""
        layout = self.layout(change)
        reasons: list[str] = []
        old, new = _complete(layout, change.before), _complete(layout, change.after)
        before = frozenset(_failing(layout, old, accepts, "before", reasons))
        after = frozenset(_failing(layout, new, accepts, "after", reasons))
        return Lost(before, after), reasons

    def layout(self, change: Stitched) -> RowLayout:
        relation = change.relation
        lsn = change.lsn or change.begin.commit_lsn
        known = self.known.get(relation.oid)
        if known is None or known[0] is not relation or not known[1].since <= lsn < known[1].until:
            known = self.known[relation.oid] = relation, next(self._layouts_of(change))
        return known[1]

    def forget(self) -> None:
        """Ask for every layout again: there was DDL."""
        self.known.clear()

    def full_xid(self, xid: int) -> int:
        """The transaction id that the protocol sends the low 32 bits of: the nearest to one seen before."""
        distance = (xid - self._xid) & 0xFFFFFFFF
        full = self._xid + (distance if distance < 1 << 31 else distance - (1 << 32))
        self._xid = max(self._xid, full)
        return full


def _complete(layout: RowLayout, row: Row | None) -> Row | None:
    """The row with the columns that the stream leaves out."""
    if row is None or layout.computed is None:
        return row
    width, compute = layout.computed
    if any(value is UNAVAILABLE for value in row):
        # They may be made of what is missing.
        return row + [UNAVAILABLE] * width
    try:
        return row + compute(row)
    except ValueError:
        return row + [UNAVAILABLE] * width


def _object(layout: RowLayout, row: Row | None, lost: frozenset[int]) -> tuple[bytes, list[str]]:
    """The row as a JSON object, and the names of the columns that are not in it."""
    if row is None:
        return NO_ROW, []
    if not lost and UNAVAILABLE not in row:
        values = [
            b"null" if value is None else encode(value)
            for encode, value in zip(layout.encoders, row, strict=True)
        ]
        return layout.template % tuple(values), []
    pairs: list[bytes] = []
    missing: list[str] = []
    columns = zip(layout.names, layout.encoders, row, strict=True)
    for number, (name, encode, value) in enumerate(columns):
        if value is None:
            pairs.append(label(name) + b"null")
        elif value is UNAVAILABLE or number in lost:
            missing.append(name)
        else:
            pairs.append(label(name) + encode(value))
    return b"{" + b",".join(pairs) + b"}", missing


def _failing(
    layout: RowLayout, row: Row | None, accepts: Callable[[bytes], bool], side: str, reasons: list[str]
) -> Iterator[int]:
    if row is None:
        return
    for number, (name, encode, value) in enumerate(zip(layout.names, layout.encoders, row, strict=True)):
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
    return jsonb(orjson.dumps({side: names for side, names in sides.items() if names}))


def _key(layout: RowLayout, row: Row | None, lost: frozenset[int]) -> bytes:
    """A key column as its text, several as a jsonb array; NULL when there is no key or it is not known."""
    if not row or not layout.key:
        return NULL
    values: list[bytes] = []
    for number in layout.key:
        value = row[number]
        if value is None or value is UNAVAILABLE or number in lost:
            return NULL
        values.append(value)
    if len(values) == 1:
        return field(values[0])
    rendered = [layout.encoders[number](value) for number, value in zip(layout.key, values, strict=True)]
    # As the server prints jsonb, so that a key can be looked for.
    printed = [value if value[:1] == b'"' else canonical(value) for value in rendered]
    return field(b"[" + b", ".join(printed) + b"]")
