"""Messages that could not be stored as they are: kept whole, with what it takes to read them again."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import orjson

from bemi_django.ingest.protocol.messages import Begin, Column, Relation
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched

_INSERT = """
INSERT INTO _bemi.dead_letters (slot, position, change_id, message, origin, reason)
VALUES (%s, %s, %s, %s, %s, %s)
"""


class RejectedMessage(NamedTuple):
    """``position`` is the commit LSN; ``change_id`` is the row that holds what is known, None for none."""

    position: int
    change_id: UUID | None
    message: bytes
    origin: bytes
    reason: str


def of_change(change: Stitched, change_id: bytes, message: bytes, reason: str) -> RejectedMessage:
    """Return the dead letter of a change that was stored incompletely."""
    origin = {
        "begin": list(change.begin),
        "ordinal": change.ordinal,
        "lsn": change.lsn,
        "context": change.context.decode("utf-8", "replace"),
        "relation": [*change.relation[:3], [list(column) for column in change.relation.columns]],
    }
    dumped = orjson.dumps(origin)
    return RejectedMessage(change.begin.commit_lsn, UUID(bytes=change_id), message, dumped, reason)


def of_message(begin: Begin | None, message: bytes, reason: str) -> RejectedMessage:
    """Return the dead letter of a message that belongs to no row, or that cannot be read."""
    return RejectedMessage(begin.commit_lsn if begin else 0, None, message, b"{}", reason)


def insert(cursor: Any, slot: str, letters: list[RejectedMessage]) -> None:
    """Keep letters; ``cursor`` is in the transaction of the changes around them."""
    for letter in letters:
        change_id = letter.change_id and str(letter.change_id)
        values = [letter.position, change_id, letter.message, letter.origin.decode(), letter.reason]
        cursor.execute(_INSERT, [slot, *values])


def read_origin(origin: dict[str, Any]) -> ChangeHeader:
    """Return the header of a change from the ``origin`` that :func:`of_change` wrote."""
    oid, schema, name, columns = origin["relation"]
    relation = Relation(oid, schema, name, tuple(Column(*column) for column in columns))
    begin = Begin(*origin["begin"])
    return ChangeHeader(begin, origin["ordinal"], relation, origin["context"].encode(), origin["lsn"])
