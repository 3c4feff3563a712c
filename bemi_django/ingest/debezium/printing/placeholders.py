"""What the connector sends in place of a TOAST value that did not change."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from hashlib import md5
from typing import Any
from uuid import UUID

from bemi_django.ingest.debezium.reading.record import WrittenNumber

_HEX = "hex:"


class Placeholders:
    """Tells placeholders from values: each type has a form of its own.

    Args:
        text: ``unavailable.value.placeholder`` of the connector.

    Raises:
        ValueError: It is in hexadecimal digits, and they are wrong.
    """

    def __init__(self, text: str) -> None:
        data = bytes.fromhex(text[len(_HEX) :]) if text.startswith(_HEX) else text.encode()
        name = data.decode("utf-8", "replace")
        binary = [b64encode(data).decode(), urlsafe_b64encode(data).decode(), data.hex()]
        of_map = {name: name}
        self._texts = frozenset(
            (name, *binary, json.dumps(of_map, ensure_ascii=False, separators=(",", ":")))
        )
        # As Java makes a UUID of a name.
        named = str(UUID(bytes=md5(data, usedforsecurity=False).digest(), version=3))
        numbers = [byte - 256 * (byte > 127) for byte in data]
        self._others: list[Any] = [of_map, numbers, *([one] for one in (name, named, *binary))]

    def has(self, value: Any) -> bool:
        """Return whether a value, from JSON, is a placeholder."""
        if isinstance(value, str):
            return value in self._texts and not isinstance(value, WrittenNumber)
        return isinstance(value, (list, dict)) and value in self._others
