"""Print the values of keys as PostgreSQL does in a session with ``ROW_SETTINGS``."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any


def key_text(values: Sequence[Any]) -> str:
    """Return ``changes.primary_key`` for a key's values: one as text, several as a JSON array."""
    if len(values) == 1:
        return text(values[0])
    return f"[{', '.join(map(json_text, values))}]"


def text(value: Any) -> str:
    """Return a value as text, as PostgreSQL's output functions print it."""
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
    """Return a value as JSON, as ``to_jsonb`` prints it."""
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
