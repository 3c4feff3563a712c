"""A chunk: what is published at once to a lane, as JSON.

The form is described in docs/queue-format.md. Values are text, so that no reader changes a number.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from bemi_django.exceptions import ProtocolError, ReplicationError
from bemi_django.ingest.destination.checkpoint import Origin
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.queue.course.course import Course, course_of
from bemi_django.ingest.queue.message.row_values import Values
from bemi_django.ingest.queue.message.soundness import (
    BEYOND_COUNTS,
    BEYOND_OIDS,
    BEYOND_TIMELINES,
    are_changes,
    sound,
    sound_moment,
    sound_name,
    sound_number,
    sound_object,
    sound_position,
    sound_text,
)
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.ingest.selection.omissions import Omissions
from bemi_django.wire.lane import LanePosition

VERSION = 1

NO_ORIGIN = Origin("", 0, 0)


class Chunk(NamedTuple):
    """Changes of one lane between two positions; those before ``begin`` are in chunks before.

    ``lanes`` is the number of lanes of the source, and ``origin`` what its positions belong to. With
    ``is_canonical``, JSON is written as jsonb prints it, so that rows can be sealed as they are.
    ``after`` is where other lanes have to be first: the first lane if this is another, all others if this is
    the first; None if there is nothing to wait for. ``committed_at`` is the commit time of the last change
    of all lanes, in microseconds since 2000-01-01 UTC. Letters and omissions have positions, too.
    ``division`` says how changes are divided among several destinations; it is a header of the message.
    A chunk without changes may say how the log has come to its position: ``course``. One with rows of a
    baseline says from which LSN on changes under the name of their table are of it: ``named_since``.
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
    course: Course | None = None
    named_since: Mapping[tuple[str, str], int] = {}


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
    if chunk.course is not None:
        head["course"] = chunk.course.sent()
    if chunk.named_since:
        head["named_since"] = [[*table, since] for table, since in chunk.named_since.items()]
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
        after, committed_at = found["after"], found["committed_at"]
        return Chunk(
            sound(str, found["source"]),
            sound_number(found["lane"]),
            sound_position(*found["begin"]),
            sound_position(*found["end"]),
            None if after is None else sound_position(*after),
            None if committed_at is None else sound_moment(committed_at),
            found["changes"],
            [(sound_position(*one[:2]), _letter(*one[2:])) for one in found["letters"]],
            [(sound_position(*one[:2]), _omissions(*one[2:])) for one in found["omissions"]],
            sound_number(found["lanes"]),
            _origin(*found["origin"]),
            sound(bool, found["canonical"]),
            course=course_of(found.get("course")),
            named_since=dict(_named_since(*one) for one in found.get("named_since", [])),
        )
    except (KeyError, TypeError, ValueError) as error:
        # The message of the error might hold values.
        raise ProtocolError(f"a message of the queue is no chunk ({type(error).__name__})") from None


def _named_since(schema: str, table: str, since: int) -> tuple[tuple[str, str], int]:
    return (sound_name(schema), sound_name(table)), sound_number(since)


def _origin(system_identifier: str, timeline: int, publication: int, database: int = 0) -> Origin:
    return Origin(
        sound_text(system_identifier),
        sound_number(timeline, BEYOND_TIMELINES),
        sound_number(publication, BEYOND_OIDS),
        sound_number(database, BEYOND_OIDS),
    )


def _sent_letter(letter: RejectedMessage) -> list[Any]:
    change_id = None if letter.change_id is None else str(letter.change_id)
    message = b64encode(letter.message).decode()
    return [letter.position, change_id, message, letter.origin, letter.reason]


def _letter(
    position: int, change_id: str | None, message: str, origin: dict[str, Any], reason: str
) -> RejectedMessage:
    identifier = None if change_id is None else UUID(sound(str, change_id))
    data = b64decode(sound(str, message))
    number, text = sound_number(position), sound_text(reason)
    return RejectedMessage(number, identifier, data, sound_object(origin), text)


def _sent_omissions(omissions: Omissions) -> list[Any]:
    return [
        [[*place, last] for place, last in omissions.columns.items()],
        [[*place, *counted] for place, counted in omissions.changes.items()],
    ]


def _omissions(columns: list[Any], changes: list[Any]) -> Omissions:
    found = Omissions()
    for schema, table, names, last in columns:
        names = tuple(sound_name(name) for name in names)
        found.columns[sound_name(schema), sound_name(table), names] = sound_number(last)
    for schema, table, reason, number, last in changes:
        key = sound_name(schema), sound_name(table), sound_name(reason)
        found.changes[key] = sound_number(number, BEYOND_COUNTS), sound_number(last)
    return found
