"""What the connector sends in place of a TOAST value that did not change."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from hashlib import md5
from typing import Any
from uuid import UUID

from bemi_django.ingest.debezium.printing.column_types import ColumnType
from bemi_django.ingest.debezium.reading.record import WrittenNumber

_HEX = "hex:"
#: Elements of arrays for which there is a placeholder; the connector sends NULL in place of other arrays.
_OF_ARRAYS = frozenset(
    ("text", "varchar", "bpchar", "json", "jsonb", "int4", "int8", "date", "uuid", "bytea")
)
#: Other types of which it sends NULL.
_WITHOUT = frozenset(("bit", "varbit", "geometry", "geography", "path", "polygon"))
#: Types of which it sends NULL whatever the value is, and elements of arrays.
_NEVER, _NEVER_IN_ARRAYS = ("name",), ("bit", "varbit")
#: Modes in which it sends a placeholder for bytes, and for arrays of them.
_BYTES, _OF_BYTES, _OF_ARRAYS_OF_BYTES = "bytea", ("bytes", "hex"), ("bytes",)


class Placeholders:
    """Tells placeholders from values: each type has a form of its own.

    Args:
        text: ``unavailable.value.placeholder`` of the connector.
        binaries: Its ``binary.handling.mode``.

    Raises:
        ValueError: It is in hexadecimal digits, and they are wrong or missing.
    """

    def __init__(self, text: str, binaries: str = "bytes") -> None:
        data = bytes.fromhex(text[len(_HEX) :]) if text.startswith(_HEX) else text.encode()
        if not data:
            # Every empty text would be one.
            raise ValueError("a placeholder has at least one byte")
        name = data.decode("utf-8", "replace")
        binary = [b64encode(data).decode(), urlsafe_b64encode(data).decode(), data.hex()]
        of_map = {name: name}
        self._texts = frozenset(
            (name, *binary, json.dumps(of_map, ensure_ascii=False, separators=(",", ":")))
        )
        # As Java makes a UUID of a name.
        named = str(UUID(bytes=md5(data, usedforsecurity=False).digest(), version=3))
        numbers = [byte - 256 * (byte > 127) for byte in data]
        self._binaries = binaries
        self._others: list[Any] = [of_map, numbers, *([one] for one in (name, named, *binary))]

    def has(self, value: Any) -> bool:
        """Return whether a value, from JSON, is a placeholder."""
        if isinstance(value, str):
            return value in self._texts and not isinstance(value, WrittenNumber)
        return isinstance(value, (list, dict)) and value in self._others

    def lacks(self, type_: ColumnType) -> bool:
        """Return whether the connector sends NULL for a value of a type that did not change."""
        name, scalar = (type_.name, True) if type_.element is None else (type_.element.name, False)
        if name == _BYTES:
            return self._binaries not in (_OF_BYTES if scalar else _OF_ARRAYS_OF_BYTES)
        return name in _WITHOUT if scalar else name not in _OF_ARRAYS

    @staticmethod
    def is_never_sent(type_: ColumnType) -> bool:
        """Return whether the connector sends NULL for every value of a type."""
        return type_.name in _NEVER if type_.element is None else type_.element.name in _NEVER_IN_ARRAYS
