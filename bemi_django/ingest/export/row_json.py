"""A row of the log as a JSON object, with the names of the log's columns."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from struct import Struct
from typing import Any
from uuid import UUID

import orjson

from bemi_django.ingest.rows.copy_format import ID_AT
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.wire.lsn import format_lsn, parse_lsn
from bemi_django.wire.sequence import history_of, lsn_of, sequence_of

_LENGTH = Struct(">i").unpack_from
_INT64 = Struct(">q").unpack
_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def row_json(row: bytes) -> bytes:
    """Return a row of COPY as JSON in one line; numbers in it keep all of their digits.

    Raises:
        UnicodeDecodeError: A value is not text.
    """
    parts, at = [b'{"id":"', str(UUID(bytes=row[ID_AT])).encode(), b'"'], ID_AT.stop
    for label, write in _COLUMNS:
        (length,) = _LENGTH(row, at)
        at += 4
        if length < 0:
            parts += label, b"null"
            continue
        parts += label, write(row[at : at + length])
        at += length
    parts.append(b"}")
    return b"".join(parts)


def moment_json(microseconds: int) -> str:
    """Return a moment, in microseconds since 2000-01-01 UTC, as ISO 8601 with six digits of a second."""
    return (_EPOCH + microseconds * _MICROSECOND).isoformat(timespec="microseconds").replace("+00:00", "Z")


def position_json(sequence: int) -> dict[str, Any]:
    """Return a sequence number as the number of a history and an LSN."""
    return {"history": history_of(sequence), "lsn": format_lsn(lsn_of(sequence))}


def position_in(found: dict[str, Any]) -> int:
    """Return the sequence number of what :func:`position_json` has returned and somebody may have changed.

    Raises:
        ValueError: It is none.
    """
    try:
        return sequence_of(found["history"], parse_lsn(found["lsn"]))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("no position") from error


def _text(value: bytes) -> bytes:
    return orjson.dumps(value.decode())


def _json(value: bytes) -> bytes:
    # The binary format of jsonb has a byte for its version. A line's end can only be between values.
    text = value[1:].replace(b"\n", b" ").replace(b"\r", b" ")
    text.decode()
    return text


def _number(value: bytes) -> bytes:
    return b"%d" % _INT64(value)[0]


def _moment(value: bytes) -> bytes:
    return f'"{moment_json(_INT64(value)[0])}"'.encode()


_WRITERS = {
    **dict.fromkeys(("before", "after", "context", "unavailable"), _json),
    **dict.fromkeys(("transaction_id", "position"), _number),
    **dict.fromkeys(("committed_at", "queued_at"), _moment),
}
_COLUMNS = [(f',"{name}":'.encode(), _WRITERS.get(name, _text)) for name in COLUMNS[1:]]
