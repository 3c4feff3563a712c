"""The values of a change in a message: text, JSON text, and numbers, in the order of the columns of a row."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from struct import Struct
from typing import Any

from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.protocol.messages import Begin, Relation
from bemi_django.ingest.rows.canonical_json import canonical, canonical_context
from bemi_django.ingest.rows.copy_format import ID_AT, NULL, field, int64, jsonb
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.ingest.stitching.operations import BASELINE, CREATE, DELETE, UPDATE
from bemi_django.ingest.stitching.stitched import ChangeHeader
from bemi_django.wire.division import Division, row_hash
from bemi_django.wire.ids import ordinal_in, sequence_in
from bemi_django.wire.lane import LanePosition

_LENGTH = Struct(">i").unpack_from
_INT64 = Struct(">q").unpack_from
_NUMBERS = frozenset(
    COLUMNS.index(name) for name in ("committed_at", "queued_at", "transaction_id", "position")
)
#: The places of some values of a change.
ID, COMMITTED_AT, TRANSACTION_ID, POSITION, CONTEXT = (
    COLUMNS.index(name) for name in ("id", "committed_at", "transaction_id", "position", "context")
)
_NO_TABLE = Relation(0, "", "", ())
#: The places of JSON text.
JSON = frozenset(COLUMNS.index(name) for name in ("before", "after", "context", "unavailable"))
#: Bytes before the text of each value but the id: jsonb has one for its version. None for numbers.
_SKIPPED = tuple(None if number in _NUMBERS else int(number in JSON) for number in range(1, len(COLUMNS)))
DATABASE, SCHEMA, TABLE, KEY, OPERATION, OLD_KEY = (
    COLUMNS.index(name)
    for name in ("database", "schema", "table", "primary_key", "operation", "previous_primary_key")
)
_OF_ROWS = (CREATE, UPDATE, DELETE, BASELINE)

#: The values of a change in the order of ``COLUMNS``: the id, text, JSON text, or numbers.
Values = list[Any]


def values_of(row: bytes) -> Values:
    """Return the values of a row of COPY."""
    name = row[ID_AT].hex()
    values: Values = [f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"]
    at = ID_AT.stop
    for skipped in _SKIPPED:
        (length,) = _LENGTH(row, at)
        at += 4
        if length < 0:
            values.append(None)
            continue
        end = at + length
        values.append(_INT64(row, at)[0] if skipped is None else row[at + skipped : end].decode())
        at = end
    return values


def row_of(values: Values) -> bytes:
    """Return the row of COPY that :func:`values_of` has read."""
    fields = [field(bytes.fromhex(values[ID].replace("-", "")))]
    for skipped, value in zip(_SKIPPED, values[1:], strict=True):
        if value is None:
            fields.append(NULL)
        elif skipped is None:
            fields.append(int64(value))
        else:
            fields.append((jsonb if skipped else field)(value.encode()))
    return b"".join(fields)


def canonical_values(values: Values) -> Values:
    """Return the values of a change with JSON as jsonb prints it; what is none, a destination refuses."""
    made = list(values)
    for number in JSON:
        if made[number] is not None:
            render = canonical_context if number == CONTEXT else canonical
            with suppress(ValueError):
                made[number] = render(made[number].encode()).decode()
    return made


def position_of(identifier: bytes) -> LanePosition:
    """Return the position of a change from its id, 16 bytes."""
    return LanePosition(sequence_in(identifier), ordinal_in(identifier))


def lane_of(values: Values, lanes: int) -> int | None:
    """Return the lane of a change; None if it has to be between all that are before and after it.

    It is CRC-32 of schema, table and key, each followed by NUL, modulo the number of lanes. A change of the
    key belongs to two rows, and one without a table or a row to none.
    """
    key = values[KEY]
    if values[OLD_KEY] is not None or key is None and values[OPERATION] not in _OF_ROWS:
        return None
    return row_hash(values[SCHEMA], values[TABLE], key) % lanes


def destination_of(values: Values, division: Division) -> str:
    """Return the destination of a change; an update of the key is one of the row with the new key."""
    return division.destination_of(values[DATABASE], values[SCHEMA], values[TABLE], values[KEY])


def pendings_of(changes: Sequence[Values]) -> list[Pending]:
    """Return changes as what writes to the log takes them, without the messages that they were made from."""
    made: list[Pending] = []
    begin, said, context = Begin(0, 0, 0), "", b""
    for change in changes:
        row = row_of(change)
        of_change = Begin(change[POSITION], change[COMMITTED_AT], change[TRANSACTION_ID] & 0xFFFFFFFF)
        # Changes of one transaction have one begin, and those of one statement one context.
        begin = begin if begin == of_change else of_change
        if said != change[CONTEXT]:
            said = change[CONTEXT]
            context = said.encode()
        header = ChangeHeader(begin, ordinal_in(row[ID_AT]), _NO_TABLE, context, 0)
        made.append(Pending(row, header, b""))
    return made
