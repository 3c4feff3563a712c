"""Keep messages that could not be stored completely, with what is needed to read them again."""

from __future__ import annotations

import hashlib
import io
from struct import Struct
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from bemi_django.ingest.protocol.messages import Begin, Column, Relation
from bemi_django.ingest.rows.copy_format import HEADER, NULL, TRAILER, field, int64, jsonb
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched

#: Bytes that are kept of a message that is too large to be kept whole.
_BEGINNING = 64 * 1024
_MAX_REASON = 4000
_LARGEST_POSITION = (1 << 63) - 1
# As binary COPY: the values of a statement would be in the server's log if it failed.
_COPY = (
    "COPY _bemi.dead_letters (slot, position, change_id, message, origin, reason) FROM STDIN (FORMAT binary)"
)
_FIELDS = Struct(">h").pack(6)


class RejectedMessage(NamedTuple):
    """A dead letter.

    ``position`` is the commit LSN, ``change_id`` the row that holds what is known (None if there is none),
    and ``origin`` what is needed to read the message again.
    """

    position: int
    change_id: UUID | None
    message: bytes
    origin: dict[str, Any]
    reason: str

    def limited(self, size: int) -> RejectedMessage:
        """Return the letter; of a message of more bytes than this with its size, hash and beginning only."""
        message = self.message
        if len(message) <= size:
            return self
        cut = {"size": len(message), "sha256": hashlib.sha256(message).hexdigest()}
        beginning = message[: min(size, _BEGINNING)]
        return self._replace(message=beginning, origin={**self.origin, "cut": cut})

    def withheld(self) -> RejectedMessage:
        """Return the letter without its message, in which values may be that must not be stored."""
        return self._replace(message=b"", origin={**self.origin, "cut": {"size": len(self.message)}})


def of_change(change: Stitched, change_id: bytes, message: bytes, reason: str) -> RejectedMessage:
    """Return the dead letter of a change that was stored incompletely."""
    origin = {
        "begin": list(change.begin),
        "ordinal": change.ordinal,
        "operation": change.operation,
        "lsn": change.lsn,
        "context": change.context.decode("utf-8", "replace"),
        "relation": [*change.relation[:3], [list(column) for column in change.relation.columns]],
    }
    return _letter(change.begin, UUID(bytes=change_id), message, origin, reason)


def of_message(begin: Begin | None, message: bytes, reason: str) -> RejectedMessage:
    """Return the dead letter of a message that belongs to no row, or that cannot be read."""
    return _letter(begin, None, message, {}, reason)


def insert(cursor: Any, slot: str, letters: list[RejectedMessage]) -> None:
    """Write letters.

    Args:
        cursor: A cursor of the destination, in the transaction of the changes around them.
        slot: The slot of the worker.
        letters: The letters.
    """
    if letters:
        rows = b"".join(_row(slot.encode(), letter) for letter in letters)
        cursor.copy_expert(_COPY, io.BytesIO(HEADER + rows + TRAILER))


def read_origin(origin: dict[str, Any]) -> ChangeHeader:
    """Return the header of a change from the ``origin`` that :func:`of_change` wrote."""
    oid, schema, name, columns = origin["relation"]
    relation = Relation(oid, schema, name, tuple(Column(*column) for column in columns))
    begin = Begin(*origin["begin"])
    return ChangeHeader(begin, origin["ordinal"], relation, origin["context"].encode(), origin["lsn"])


def _letter(
    begin: Begin | None, change_id: UUID | None, message: bytes, origin: dict[str, Any], reason: str
) -> RejectedMessage:
    position = min(begin.commit_lsn, _LARGEST_POSITION) if begin else 0
    reason = reason[:_MAX_REASON].replace("\0", "\u2400")
    return RejectedMessage(position, change_id, message, origin, reason)


def _row(slot: bytes, letter: RejectedMessage) -> bytes:
    return b"".join(
        (
            _FIELDS,
            field(slot),
            int64(letter.position),
            NULL if letter.change_id is None else field(letter.change_id.bytes),
            field(letter.message),
            jsonb(orjson.dumps(letter.origin)),
            field(letter.reason.encode("utf-8", "replace")),
        )
    )
