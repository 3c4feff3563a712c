"""Records as they come from a file or a stream: the JSON of a key and a value.

A line of a file is the value of a record, or an object with its ``key`` and ``value``, and whatever else is
said of it. Tools print one or both of them as text, and call the value ``payload``. With
``converter.schemas.enable``, each is an object of ``schema`` and ``payload``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from bemi_django.ingest.debezium.reading.foreign_records import NO_ENVELOPE, reason_of_bytes

#: A field of a schema, as JSON.
FieldSchema = Mapping[str, Any]
#: An envelope, or another record of the connector, has one of these.
_OF_A_VALUE = frozenset(("op", "source", "status", "ts_ms"))
#: What tools say of a record beside its value.
_OF_A_LINE = frozenset(("key", "value", "payload", "topic", "subject", "partition", "offset", "headers"))


#: Stands for a TOAST value that did not change.
PLACEHOLDER = "__debezium_unavailable_value"


class WrittenNumber(str):
    """A number as it is written, which need not fit into a float: ``1.10``, ``1e400``, ``NaN``."""


class Modes(NamedTuple):
    """Settings of the connector that records without schemas do not tell.

    Attributes:
        decimals: ``decimal.handling.mode``.
        binaries: ``binary.handling.mode``.
        placeholder: ``unavailable.value.placeholder``.
        times: ``time.precision.mode``.
    """

    decimals: str = "precise"
    binaries: str = "bytes"
    placeholder: str = PLACEHOLDER
    times: str = "adaptive"


#: Those of a connector by default.
DEFAULT_MODES = Modes()


class UnreadableRecord(ValueError):
    """A record that cannot be taken; the message has no value of it."""


class Record(NamedTuple):
    """A record.

    Attributes:
        data: Its bytes, for a dead letter.
        value: What it says; None for a tombstone.
        fields: The schemas of the fields of ``value``, empty without schemas.
        number: Its number in the stream, 0 in a file.
    """

    data: bytes
    value: Mapping[str, Any] | None
    fields: Mapping[str, FieldSchema] = {}
    number: int = 0


def read_line(line: bytes) -> Record:
    """Return the record of a line of a file.

    Raises:
        UnreadableRecord: It is none.
    """
    found = _parsed(line)
    if isinstance(found, dict) and not found.keys() & _OF_A_VALUE:
        for name in ("value", "payload"):
            # With a schema beside it, it is a value itself.
            if name in found and "schema" not in found:
                value = found[name]
                if value is None and found.keys().isdisjoint(_OF_A_LINE - {name}) and len(found) > 1:
                    # A row that was flattened, with a column of this name: no tombstone.
                    raise UnreadableRecord(NO_ENVELOPE)
                return _record(line, _parsed(value.encode()) if isinstance(value, str) else value)
    return _record(line, found)


def read_value(data: bytes, number: int) -> Record:
    """Return the record of a message, which is its value.

    Args:
        data: The message.
        number: Its number in the stream.

    Raises:
        UnreadableRecord: It is none.
    """
    # A tombstone has no value at all.
    return _record(data, _parsed(data) if data.strip() else None)._replace(number=number)


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data, parse_float=WrittenNumber, parse_constant=WrittenNumber)
    except RecursionError:
        raise UnreadableRecord("JSON that is nested too deeply") from None
    except ValueError:
        raise UnreadableRecord(reason_of_bytes(data)) from None


def _record(data: bytes, value: Any) -> Record:
    if value is None:
        return Record(data, None)
    fields: Mapping[str, FieldSchema] = {}
    if isinstance(value, dict) and value.keys() == {"schema", "payload"}:
        fields, value = fields_of(value["schema"]), value["payload"]
    if value is None:
        return Record(data, None)
    if not isinstance(value, dict):
        raise UnreadableRecord("not an object")
    return Record(data, value, fields)


def fields_of(schema: Any) -> Mapping[str, FieldSchema]:
    """Return the schemas of the fields of a structure, by their names; those that are none are left out."""
    fields = schema.get("fields") if isinstance(schema, dict) else None
    if not isinstance(fields, list):
        return {}
    return {
        field["field"]: field
        for field in fields
        if isinstance(field, dict) and isinstance(field.get("field"), str)
    }
