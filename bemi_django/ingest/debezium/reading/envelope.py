"""What the records of the connector say: changes, logical messages, ends of transactions."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, NamedTuple

from bemi_django.ingest.debezium.reading import foreign_records
from bemi_django.ingest.debezium.reading.record import FieldSchema, Record, UnreadableRecord, fields_of
from bemi_django.ingest.rows.row_writer import EPOCH_SECONDS
from bemi_django.wire.sequence import MAX_LSN

#: Kinds of changes: a row that was created, updated, deleted, or read by a snapshot, and an emptied table.
CREATE, UPDATE, DELETE, READ, TRUNCATE = "cudrt"
_OF_ROWS = (CREATE, UPDATE, DELETE, READ, TRUNCATE)
_MESSAGE = "m"
_EPOCH = EPOCH_SECONDS * 1_000_000
_LARGEST_TIME = 1 << 62
#: Fields of the source from which the commit time is read, with the number of them in a second.
_TIMES = (("ts_ns", 1_000_000_000), ("ts_us", 1_000_000), ("ts_ms", 1000))
#: When a record was made, and all that the records of the beginning and end of a transaction have.
_MOMENTS = frozenset(("ts_ms", "ts_us", "ts_ns"))
_OF_BOUNDARIES = _MOMENTS | {"status", "id", "event_count", "data_collections"}
_MAX_IDENTIFIER = 1024
#: The largest position of an event: that of its transaction, and the end of it, lie after it.
_LARGEST_LSN = MAX_LSN - 1024


class EventPlace(NamedTuple):
    """Where an event is in the WAL.

    Attributes:
        database: The name of the source.
        xid: The transaction, 32 bits; None for a message that belongs to none.
        lsn: Where the event lies, in bytes.
        previous: Where the transaction before has ended, in bytes; None if the connector does not know it.
        committed_at: In microseconds since 2000-01-01 UTC.
        is_incremental: Whether it is one of an incremental snapshot, whose rows stand between others.
    """

    database: str
    xid: int | None
    lsn: int
    previous: int | None
    committed_at: int
    is_incremental: bool = False


class RowEvent(NamedTuple):
    """What has happened to a row, or to a table; ``fields`` are the schemas of its columns."""

    place: EventPlace
    operation: str
    schema: str
    table: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    fields: Mapping[str, FieldSchema]


class LogicalMessage(NamedTuple):
    """A logical message of the WAL."""

    place: EventPlace
    prefix: str
    content: bytes


class TransactionEnd(NamedTuple):
    """The end of a transaction; ``lsn`` is where its WAL ends, in bytes."""

    xid: int
    lsn: int


Event = RowEvent | LogicalMessage | TransactionEnd


def place_of(record: Record) -> EventPlace | None:
    """Return the place of the event of a record; None if it has none.

    Raises:
        UnreadableRecord: It should have one, and has not.
    """
    value = record.value
    if value is not None and foreign_records.is_cloud_event(value):
        raise UnreadableRecord(foreign_records.CLOUD_EVENT)
    if value is None or value.get("op") is None and "source" not in value:
        return None
    source = value.get("source")
    if not isinstance(source, dict):
        raise UnreadableRecord("an envelope without source")
    if source.get("connector", "postgresql") != "postgresql":
        raise UnreadableRecord("a record of another connector than PostgreSQL's")
    lsn = _number(source, "lsn", _LARGEST_LSN)
    xid = None if source.get("txId") is None else _number(source, "txId", (1 << 63) - 1) & 0xFFFFFFFF
    return EventPlace(
        _text(source, "db"),
        xid,
        lsn,
        _previous(source.get("sequence")),
        _committed_at(source),
        source.get("snapshot") == "incremental",
    )


def event_of(record: Record, place: EventPlace | None, binaries: str = "bytes") -> Event | None:
    """Return what a record says; None for one that says nothing of a row: a heartbeat, a tombstone.

    Args:
        record: The record.
        place: Its place.
        binaries: How the connector writes bytes.

    Raises:
        UnreadableRecord: It is no record of the connector.
    """
    value = record.value
    if value is None:
        return None
    if place is None:
        return _other(value)
    operation = value.get("op")
    if operation == _MESSAGE:
        return _message(place, value, binaries)
    if operation not in _OF_ROWS:
        raise UnreadableRecord("an operation that is not known")
    source = value["source"]
    before, after = (_row(value, side) for side in ("before", "after"))
    if operation in (CREATE, UPDATE, READ) and after is None:
        raise UnreadableRecord("a row without its values (after)")
    if operation == DELETE and before is None:
        raise UnreadableRecord("a deleted row without its key (before)")
    schema = record.fields.get("after") or record.fields.get("before")
    names = _text(source, "schema"), _text(source, "table")
    return RowEvent(place, operation, *names, before, after, fields_of(schema))


def _message(place: EventPlace, value: Mapping[str, Any], binaries: str) -> LogicalMessage:
    message = value.get("message")
    if not isinstance(message, dict):
        raise UnreadableRecord("a logical message without its content")
    content = message.get("content")
    if content is None:
        # The connector sends nothing for an empty one.
        content = ""
    if not isinstance(content, str):
        raise UnreadableRecord("a logical message whose content is not base64")
    return LogicalMessage(place, _text(message, "prefix", may_be_empty=True), decoded(content, binaries))


def decoded(text: str, binaries: str = "bytes") -> bytes:
    """Return the bytes that a text stands for.

    Args:
        text: The text.
        binaries: ``binary.handling.mode`` of the connector; base64 by default.

    Raises:
        UnreadableRecord: It stands for none.
    """
    try:
        if binaries == "hex":
            return bytes.fromhex(text)
        return b64decode(text, b"-_" if binaries == "base64-url-safe" else None, validate=True)
    except ValueError:
        raise UnreadableRecord(f"a value that is not {'hex' if binaries == 'hex' else 'base64'}") from None


def _other(value: Mapping[str, Any]) -> TransactionEnd | None:
    # A row that was flattened may have a column status.
    status = None if value.keys() - _OF_BOUNDARIES else value.get("status")
    if status == "END":
        xid, _, lsn = str(value.get("id")).partition(":")
        if not (xid.isdecimal() and lsn.isdecimal() and len(xid) < 20 and len(lsn) < 20):
            raise UnreadableRecord("the end of a transaction without its id")
        if int(lsn) > _LARGEST_LSN:
            raise UnreadableRecord("the end of a transaction is out of range")
        return TransactionEnd(int(xid) & 0xFFFFFFFF, int(lsn))
    is_heartbeat = "ts_ms" in value and not value.keys() - _MOMENTS
    if status == "BEGIN" and isinstance(value.get("id"), str) or is_heartbeat:
        return None
    raise UnreadableRecord(foreign_records.NO_ENVELOPE)


def _row(value: Mapping[str, Any], side: str) -> Mapping[str, Any] | None:
    row = value.get(side)
    if row is not None and not isinstance(row, dict):
        raise UnreadableRecord(f"{side} is not an object")
    return row


def _previous(sequence: Any) -> int | None:
    """Return the first of the two positions of ``sequence``, which is an array or the text of one."""
    try:
        found = json.loads(sequence) if isinstance(sequence, str) else sequence
        previous, _ = found
        number = None if previous is None else int(previous)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise UnreadableRecord("source.sequence is not there, or not readable") from None
    if number is not None and not 0 <= number <= _LARGEST_LSN:
        raise UnreadableRecord("source.sequence is out of range")
    return number


def _committed_at(source: Mapping[str, Any]) -> int:
    for name, scale in _TIMES:
        if source.get(name) is not None:
            return _number(source, name, _LARGEST_TIME) * 1_000_000 // scale - _EPOCH
    raise UnreadableRecord("source.ts_ms is missing")


def _number(source: Mapping[str, Any], name: str, most: int) -> int:
    value = source.get(name)
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise UnreadableRecord(f"source.{name} is missing or out of range")
    return value


def _text(source: Mapping[str, Any], name: str, *, may_be_empty: bool = False) -> str:
    value = source.get(name)
    if not isinstance(value, str) or len(value) > _MAX_IDENTIFIER or "\0" in value:
        raise UnreadableRecord(f"{name} is missing or not a name")
    if not value and not may_be_empty:
        raise UnreadableRecord(f"{name} is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnreadableRecord(f"{name} is not text") from None
    return value
