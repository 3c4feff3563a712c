"""Convert values as Debezium sends them to what PostgreSQL prints, which is what the stream of a slot has.

What the connector does not send of a value cannot be made again: docs/debezium.md has the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any

from bemi_django.ingest.debezium.printing.column_types import ColumnType
from bemi_django.ingest.debezium.printing.placeholders import Placeholders
from bemi_django.ingest.debezium.printing.printers import DECIMAL, PRINTERS, number, plain, quoted, text_of
from bemi_django.ingest.debezium.reading.envelope import decoded
from bemi_django.ingest.debezium.reading.record import DEFAULT_MODES, FieldSchema, Modes, WrittenNumber
from bemi_django.ingest.protocol.messages import UNAVAILABLE

_QUOTED = re.compile(r'[{}",\\\s]|^$|^null$', re.IGNORECASE)
_MAX_SCALE = 16_383
#: Eleven bits of a modifier are the scale.
_LARGEST = 0x7FF
#: They are no arrays for the connector, which sends nothing of their values.
_VECTORS = ("int2vector", "oidvector")
_OF_TIMES = ("time", "timestamp", "timestamptz")
#: The schemas that all values of a type have in some modes of the connector; in others, columns decide.
_TIMES = {
    "adaptive_time_microseconds": {"time": "io.debezium.time.MicroTime"},
    "connect": dict.fromkeys(_OF_TIMES, "org.apache.kafka.connect.data.Timestamp"),
    "microseconds": dict.fromkeys(_OF_TIMES, "io.debezium.time.MicroTimestamp"),
    "nanoseconds": dict.fromkeys(_OF_TIMES, "io.debezium.time.NanoTimestamp"),
}
#: Values that only the server can print: where its settings decide, or the form is another one.
_ASKED = {
    "money": "SELECT %s::pg_catalog.numeric::pg_catalog.money::text",
    "interval": "SELECT %s::pg_catalog.interval::text",
    # Their numbers are printed as Java does.
    **{
        name: f"SELECT %s::pg_catalog.{name}::text"
        for name in ("box", "circle", "line", "lseg", "path", "polygon")
    },
}
#: What the connector makes of numbers that are none.
_NO_NUMBERS = {"NAN": "NaN", "POSITIVE_INFINITY": "Infinity", "NEGATIVE_INFINITY": "-Infinity"}

#: Asks the source for the text of a value by a query of its own.
Ask = Callable[[str, str], str]


class Texts:
    """Prints values as PostgreSQL does.

    Args:
        ask: Asks the source.
        modes: Settings of the connector.
    """

    def __init__(self, ask: Ask, modes: Modes = DEFAULT_MODES) -> None:
        self._ask = lru_cache(maxsize=1024)(ask)
        self._modes = modes
        self.placeholders = Placeholders(modes.placeholder, modes.binaries)
        #: Stands for the schema of a time that has none, by its type.
        self._of_times: dict[str, FieldSchema] = {
            type_: {"name": name} for type_, name in _TIMES.get(modes.times, {}).items()
        }

    def text(self, value: Any, type_: ColumnType, schema: FieldSchema) -> bytes | None:
        """Return a value as text in UTF-8, None for NULL, ``UNAVAILABLE`` if it was not sent.

        Args:
            value: The value, from JSON.
            type_: The type of its column.
            schema: The schema of its field, empty without one.

        Raises:
            ValueError: It is not one of the type.
        """
        if value is None:
            return UNAVAILABLE if self.placeholders.is_never_sent(type_) else None
        if self.placeholders.has(value):
            return UNAVAILABLE
        return self._printed(value, type_, schema).encode()

    def _printed(self, value: Any, type_: ColumnType, schema: FieldSchema) -> str:
        if type_.element is not None:
            return self._array(value, type_, type_.element, schema)
        if type_.is_opaque and isinstance(value, str):
            return self._opaque(value, type_)
        printer = PRINTERS.get(type_.name)
        if printer is not None:
            return printer(value, type_, schema or self._of_times.get(type_.name, {}))
        if type_.name == "bytea":
            text = text_of(value)
            return text if text[:2] == "\\x" else "\\x" + decoded(text, self._modes.binaries).hex()
        if type_.name == "numeric":
            return self._decimal(value, type_, schema)
        if type_.name == "money":
            return self._ask(_ASKED["money"], self._decimal(value, type_._replace(modifier=6), schema))
        if type_.name == "interval":
            text = f"{value} microseconds" if isinstance(value, int) else text_of(value)
            return self._ask(_ASKED["interval"], text)
        return plain(value, type_)

    def _opaque(self, value: str, type_: ColumnType) -> str:
        """Return a value of a type that the connector does not know, whose text it sends as bytes."""
        try:
            text = decoded(value, self._modes.binaries).decode()
        except ValueError:
            # One that knows the type sends its text.
            text = value
        return self._ask(_ASKED[type_.name], text) if type_.name in _ASKED else text

    def _array(self, value: Any, type_: ColumnType, element: ColumnType, schema: FieldSchema) -> str:
        if isinstance(value, str) and value[:1] == "{":
            return value
        if not isinstance(value, list) or type_.name in _VECTORS:
            raise ValueError("an array that is none")
        items = schema.get("items") or {}
        parts = []
        for one in value:
            if one is None:
                parts.append("NULL")
            elif isinstance(one, list):
                parts.append(self._array(one, type_, element, items))
            else:
                text = self._printed(one, element, items)
                parts.append(quoted(text) if _QUOTED.search(text) or type_.delimiter in text else text)
        return "{" + type_.delimiter.join(parts) + "}"

    def _decimal(self, value: Any, type_: ColumnType, schema: FieldSchema) -> str:
        if isinstance(value, dict):
            return _scaled(value.get("value"), value.get("scale"))
        if isinstance(value, (int, WrittenNumber)) and not isinstance(value, bool):
            return number(value)
        text = text_of(value)
        if text.upper() in _NO_NUMBERS:
            return _NO_NUMBERS[text.upper()]
        if schema.get("type") == "bytes" or not schema and not self._are_text(text):
            parameters = schema.get("parameters") or {}
            scale = parameters.get("scale") if schema else _scale(type_.modifier)
            text = _scaled(text, int(scale) if isinstance(scale, str) and scale.isdecimal() else scale)
        if not DECIMAL.fullmatch(text):
            raise ValueError("a number that is none")
        if "e" in text.lower() and isfinite(float(text)):
            text = f"{Decimal(text):f}"
        return text.partition(".")[0] if _is_rounded(type_.modifier) else text

    def _are_text(self, text: str) -> bool:
        # No base64 has a point or a minus, but one may be all digits.
        return self._modes.decimals != "precise" or "." in text or text[:1] == "-"


def _scaled(value: Any, scale: Any) -> str:
    if not isinstance(scale, int) or not -_MAX_SCALE <= scale <= _MAX_SCALE:
        raise ValueError("a number whose scale is not known")
    unscaled = int.from_bytes(decoded(text_of(value)), "big", signed=True)
    sign, digits = "-" if unscaled < 0 else "", str(abs(unscaled))
    if scale <= 0:
        return sign + (digits + "0" * -scale if unscaled else "0")
    digits = digits.rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"


def _scale(modifier: int) -> int | None:
    """Return the scale of a numeric as the connector reads it: it takes a negative one for a large one."""
    return None if modifier < 4 else modifier - 4 & _LARGEST


def _is_rounded(modifier: int) -> bool:
    """Return whether the scale of a numeric is negative, as it may be since PostgreSQL 15."""
    return modifier >= 4 and (modifier - 4 & _LARGEST) > _LARGEST // 2
