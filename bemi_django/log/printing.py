"""Values of keys as PostgreSQL prints them, in a session of the log."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any


def key_text(values: Sequence[Any]) -> str:
    """``changes.primary_key`` of the values of a key: one as text, several as a JSON array."""
    if len(values) == 1:
        return text(values[0])
    return f"[{', '.join(map(json_text, values))}]"


def text(value: Any) -> str:
    """A value as the stream has it."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime.datetime):
        return _trimmed(_in_utc(value).isoformat(" ")) + ("+00" if value.tzinfo else "")
    if isinstance(value, datetime.time):
        return _trimmed(value.isoformat())
    if isinstance(value, (bytes, memoryview)):
        return "\\x" + bytes(value).hex()
    return str(value)


def json_text(value: Any) -> str:
    """A value as ``to_jsonb`` renders it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        return text(value)
    if isinstance(value, datetime.datetime):
        printed = _trimmed(_in_utc(value).isoformat())
        return json.dumps(printed + ("+00:00" if value.tzinfo else ""))
    return json.dumps(text(value), ensure_ascii=False)


def _trimmed(printed: str) -> str:
    return printed.rstrip("0").rstrip(".") if "." in printed else printed


def _in_utc(value: datetime.datetime) -> datetime.datetime:
    return value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
