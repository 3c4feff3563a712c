"""Say of records that are none of the connector's envelopes what they are, and what to set instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_AS_JSON = (
    "let the connector send JSON (debezium.format.value=json of Debezium Server, or value.converter="
    "org.apache.kafka.connect.json.JsonConverter)"
)
#: Binary formats of a registry begin with it, and no JSON.
_MAGIC = b"\0"
#: CloudEvents have it.
_SPECIFICATION = "specversion"


def reason_of_bytes(data: bytes) -> str:
    """Return why bytes that are not JSON cannot be taken."""
    if data.startswith(_MAGIC):
        return f"not JSON, but a binary format such as Avro or Protobuf: {_AS_JSON}"
    return f"not JSON: {_AS_JSON}, and write each record in a line of its own"


def is_cloud_event(value: Mapping[str, Any]) -> bool:
    """Return whether a record is a CloudEvent, which has a source of another kind."""
    return _SPECIFICATION in value and "op" not in value


#: Why a CloudEvent cannot be taken.
CLOUD_EVENT = f"a CloudEvent, and no envelope of Debezium's connector: {_AS_JSON}"
#: Why a record cannot be taken that is nothing of the connector.
NO_ENVELOPE = (
    "no record of Debezium's connector: neither op nor source; take away transformations that flatten or "
    "replace its records (ExtractNewRecordState, outbox.EventRouter)"
)
