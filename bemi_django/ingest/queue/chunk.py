"""A chunk: what is published at once to a lane, as JSON.

The form is described in docs/queue-format.md. Values are text, so that no reader changes a number.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from struct import Struct
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from bemi_django.exceptions import ProtocolError, ReplicationError
from bemi_django.ingest.destination.batch import Outline, Pending
from bemi_django.ingest.destination.checkpoint import Origin
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.queue.soundness import are_changes, sound_position
from bemi_django.ingest.rows.canonical_json import canonical, canonical_context
from bemi_django.ingest.rows.copy_format import ID_AT, NULL, field, int64, jsonb
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.ingest.selection.omissions import Omissions
from bemi_django.ingest.stitching.operations import BASELINE, CREATE, DELETE, UPDATE
from bemi_django.wire.division import Division, row_hash
from bemi_django.wire.ids import ordinal_in, sequence_in
from bemi_django.wire.lane import LanePosition

VERSION = 1

_LENGTH = Struct(">i").unpack_from
_INT64 = Struct(">q").unpack
_NUMBERS = frozenset(
    COLUMNS.index(name) for name in ("committed_at", "queued_at", "transaction_id", "position")
)
_CONTEXT = COLUMNS.index("context")
_JSON = frozenset(COLUMNS.index(name) for name in ("before", "after", "context", "unavailable"))
_DATABASE, _SCHEMA, _TABLE, _KEY, _OPERATION, _OLD_KEY = (
    COLUMNS.index(name)
    for name in ("database", "schema", "table", "primary_key", "operation", "previous_primary_key")
)
_OF_ROWS = (CREATE, UPDATE, DELETE, BASELINE)

NO_ORIGIN = Origin("", 0, 0)

#: The values of a change in the order of ``COLUMNS``: the id, text, JSON text, or numbers.
Values = list[Any]


class Chunk(NamedTuple):
    """Changes of one lane between two positions; those before ``begin`` are in chunks before.

    ``lanes`` is the number of lanes of the source, and ``origin`` what its positions belong to. With
    ``is_canonical``, JSON is written as jsonb prints it, so that rows can be sealed as they are.
    ``after`` is where other lanes have to be first: the first lane if this is another, all others if this is
    the first; None if there is nothing to wait for. ``committed_at`` is the commit time of the last change
    of all lanes, in microseconds since 2000-01-01 UTC. Letters and omissions have positions, too.
    ``division`` says how changes are divided among several destinations; it is a header of the message.
    """

    source: str
    lane: int
    begin: LanePosition
    end: LanePosition
    after: LanePosition | None
    committed_at: int | None
    changes: list[Values]
    letters: list[tuple[LanePosition, RejectedMessage]]
    omissions: list[tuple[LanePosition, Omissions]]
    lanes: int = 1
    origin: Origin = NO_ORIGIN
    is_canonical: bool = False
    division: str = ""


def values_of(row: bytes) -> Values:
    """Return the values of a row of COPY."""
    values: Values = [str(UUID(bytes=row[ID_AT]))]
    at = ID_AT.stop
    for number in range(1, len(COLUMNS)):
        (length,) = _LENGTH(row, at)
        at += 4
        if length < 0:
            values.append(None)
            continue
        value = row[at : at + length]
        at += length
        if number in _NUMBERS:
            values.append(_INT64(value)[0])
        else:
            # The binary format of jsonb has a byte for its version.
            values.append((value[1:] if number in _JSON else value).decode())
    return values


def readable_values(pending: Pending, outline: Outline) -> tuple[Values, RejectedMessage | None]:
    """Return the values of a row; of one that is no text its outline, and a letter of the rest.

    Args:
        pending: The row.
        outline: Writes a row whose values are not text.
    """
    try:
        return values_of(pending.row), None
    except UnicodeDecodeError:
        row, letter = outline(pending)
        return values_of(row), letter


def row_of(values: Values) -> bytes:
    """Return the row of COPY that :func:`values_of` has read."""
    fields = [field(UUID(values[0]).bytes)]
    for number, value in enumerate(values[1:], 1):
        if value is None:
            fields.append(NULL)
        elif number in _NUMBERS:
            fields.append(int64(value))
        else:
            fields.append((jsonb if number in _JSON else field)(value.encode()))
    return b"".join(fields)


def canonical_values(values: Values) -> Values:
    """Return the values of a change with JSON as jsonb prints it; what is none, a destination refuses."""
    made = list(values)
    for number in _JSON:
        if made[number] is not None:
            render = canonical_context if number == _CONTEXT else canonical
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
    key = values[_KEY]
    if values[_OLD_KEY] is not None or key is None and values[_OPERATION] not in _OF_ROWS:
        return None
    return row_hash(values[_SCHEMA], values[_TABLE], key) % lanes


def destination_of(values: Values, division: Division) -> str:
    """Return the destination of a change; an update of the key is one of the row with the new key."""
    return division.destination_of(values[_DATABASE], values[_SCHEMA], values[_TABLE], values[_KEY])


def may_follow(chunk: Chunk, positions: Mapping[int, LanePosition]) -> bool:
    """Return whether the lanes that a chunk comes after have come to where they have to be.

    Args:
        chunk: The chunk.
        positions: Where each lane of its source is.
    """
    if chunk.after is None:
        return True
    waited_for = [positions.get(0)] if chunk.lane else list(positions.values())
    return all(position is not None and position >= chunk.after for position in waited_for)


def encode(chunk: Chunk, changes: list[bytes]) -> bytes:
    """Return the chunk as JSON, with changes that are JSON already."""
    head = {
        "version": VERSION,
        "source": chunk.source,
        "lane": chunk.lane,
        "lanes": chunk.lanes,
        "origin": [*chunk.origin],
        "begin": [*chunk.begin],
        "end": [*chunk.end],
        "after": None if chunk.after is None else [*chunk.after],
        "committed_at": chunk.committed_at,
        "canonical": chunk.is_canonical,
        "columns": COLUMNS,
        "letters": [[*position, *_sent_letter(letter)] for position, letter in chunk.letters],
        "omissions": [[*position, *_sent_omissions(omissions)] for position, omissions in chunk.omissions],
    }
    return orjson.dumps(head)[:-1] + b',"changes":[' + b",".join(changes) + b"]}"


def decode(data: bytes) -> Chunk:
    """Return the chunk that :func:`encode` has written.

    Raises:
        ProtocolError: It is none.
        ReplicationError: It is one of another version.
    """
    try:
        found = orjson.loads(data)
        if int(found["version"]) != VERSION or tuple(found["columns"]) != COLUMNS:
            raise ReplicationError("a chunk of another version: upgrade the consumers before the publishers")
        if not are_changes(found["changes"]):
            raise ValueError
        after = found["after"]
        return Chunk(
            found["source"],
            found["lane"],
            sound_position(*found["begin"]),
            sound_position(*found["end"]),
            None if after is None else sound_position(*after),
            found["committed_at"],
            found["changes"],
            [(LanePosition(*one[:2]), _letter(*one[2:])) for one in found["letters"]],
            [(LanePosition(*one[:2]), _omissions(*one[2:])) for one in found["omissions"]],
            found["lanes"],
            Origin(*found["origin"]),
            found["canonical"],
        )
    except (KeyError, TypeError, ValueError) as error:
        # The message of the error might hold values.
        raise ProtocolError(f"a message of the queue is no chunk ({type(error).__name__})") from None


def _sent_letter(letter: RejectedMessage) -> list[Any]:
    change_id = None if letter.change_id is None else str(letter.change_id)
    message = b64encode(letter.message).decode()
    return [letter.position, change_id, message, letter.origin, letter.reason]


def _letter(
    position: int, change_id: str | None, message: str, origin: dict[str, Any], reason: str
) -> RejectedMessage:
    identifier = None if change_id is None else UUID(change_id)
    return RejectedMessage(position, identifier, b64decode(message), origin, reason)


def _sent_omissions(omissions: Omissions) -> list[Any]:
    return [
        [[*place, last] for place, last in omissions.columns.items()],
        [[*place, *counted] for place, counted in omissions.changes.items()],
    ]


def _omissions(columns: list[Any], changes: list[Any]) -> Omissions:
    found = Omissions()
    for schema, table, names, last in columns:
        found.columns[schema, table, tuple(names)] = last
    for schema, table, reason, number, last in changes:
        found.changes[schema, table, reason] = number, last
    return found
