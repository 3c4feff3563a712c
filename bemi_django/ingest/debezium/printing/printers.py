"""Print values of types that need no server, each from what the connector sends of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

import orjson

from bemi_django.ingest.debezium.printing import moments
from bemi_django.ingest.debezium.printing.column_types import UNKNOWN, ColumnType
from bemi_django.ingest.debezium.reading.envelope import decoded
from bemi_django.ingest.debezium.reading.record import FieldSchema, WrittenNumber

#: The microseconds of the units in which time is sent, by the end of a schema's name.
_UNITS = {"NanoTimestamp": 0.001, "NanoTime": 0.001, "MicroTimestamp": 1, "MicroTime": 1}
_MILLISECONDS = 1000
#: Digits of a second up to which the connector sends milliseconds.
_COARSE = range(4)
#: Powers of ten that PostgreSQL does not print as an exponent in single precision.
_PLAIN = range(-4, 6)
_DIGITS = re.compile(r"[+-]?\d+", re.ASCII)
#: A number as PostgreSQL takes it.
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,5})?|NaN|-?Infinity", re.ASCII)


def text_of(value: Any) -> str:
    """Return a value that is text.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str) or isinstance(value, WrittenNumber):
        raise ValueError("a value that is not text")
    return value


def plain(value: Any, type_: ColumnType) -> str:
    """Return a value of a type that is sent as text; of a column of which nothing is known, whatever it is.

    Raises:
        ValueError: It is sent in a form of its own, which is not known.
    """
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, (dict, list)):
        if type_ != UNKNOWN:
            raise ValueError("a value of a form that is not known")
        return _as_json(value)
    return str(value)


def number(value: int | str) -> str:
    """Return a number as it is written.

    Raises:
        ValueError: It is none.
    """
    text = str(value)
    if not DECIMAL.fullmatch(text):
        raise ValueError("a number that is none")
    return text


def _boolean(value: Any, *_: object) -> str:
    if not isinstance(value, bool):
        raise ValueError("a boolean that is none")
    return "t" if value else "f"


def _integer(value: Any, *_: object) -> str:
    if isinstance(value, bool) or not (isinstance(value, int) or _DIGITS.fullmatch(str(value))):
        raise ValueError("an integer that is none")
    return str(value)


def _float(value: Any, *_: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("a number that is none")
    text = number(value)
    if not text[-1].isdigit() and text[-1] != ".":
        return text
    parsed = float(text)
    if not isfinite(parsed):
        raise ValueError("a number that no float can be")
    return repr(parsed).removesuffix(".0")


def _unit(value: int, type_: ColumnType, schema: FieldSchema) -> int:
    """Return microseconds."""
    name = str(schema.get("name", "")).rpartition(".")[2]
    unit = _UNITS.get(name, _MILLISECONDS)
    if not name and type_.modifier not in _COARSE:
        unit = 1
    return value // 1000 if unit < 1 else value * int(unit)


def _date(value: Any, _: ColumnType, schema: FieldSchema) -> str:
    if isinstance(value, int):
        return moments.date_text(value)
    text = text_of(value)
    return text if text.endswith("infinity") else moments.date_text(moments.moment_of(text) // 86_400_000_000)


def _timestamp(value: Any, type_: ColumnType, schema: FieldSchema) -> str:
    if isinstance(value, int):
        return moments.timestamp_text(_unit(value, type_, schema))
    text = text_of(value)
    return text if text.endswith("infinity") else moments.timestamp_text(moments.moment_of(text))


def _timestamptz(value: Any, type_: ColumnType, schema: FieldSchema) -> str:
    text = _timestamp(value, type_, schema)
    return (
        text
        if text.endswith("infinity")
        else text.removesuffix(" BC") + "+00" + text[-3:] * (text.endswith(" BC"))
    )


def _time(value: Any, type_: ColumnType, schema: FieldSchema) -> str:
    if isinstance(value, int):
        return moments.time_text(_unit(value, type_, schema))
    return moments.time_text(moments.time_of(text_of(value)))


def _timetz(value: Any, *_: object) -> str:
    return moments.zoned_time_text(text_of(value))


def _bits(value: Any, type_: ColumnType, schema: FieldSchema) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    bits = int.from_bytes(decoded(text_of(value)), "little")
    width = type_.modifier if type_.name == "bit" else 1
    return f"{bits:b}".rjust(width, "0")


def _json(value: Any, *_: object) -> str:
    # An expanded object is one of a transformation; its text is as good as it gets.
    return value if isinstance(value, str) else _as_json(value)


def _as_json(value: Any) -> str:
    return orjson.dumps(_exact(value)).decode()


def _exact(value: Any) -> Any:
    """Return a value whose numbers are written as they came."""
    if isinstance(value, dict):
        return {key: _exact(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_exact(one) for one in value]
    is_number = isinstance(value, (int, WrittenNumber)) and not isinstance(value, bool)
    return orjson.Fragment(str(value)) if is_number else value


def _hstore(value: Any, *_: object) -> str:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise ValueError("hstore that is no object")
    pairs = ((key, None if one is None else text_of(one)) for key, one in found.items())
    return ", ".join(f"{quoted(key)}=>{'NULL' if one is None else quoted(one)}" for key, one in pairs)


def _point(value: Any, *_: object) -> str:
    if not isinstance(value, dict):
        return text_of(value)
    return f"({_float(value.get('x'))},{_float(value.get('y'))})"


def _geometry(value: Any, *_: object) -> str:
    return text_of(value) if isinstance(value, str) else decoded(text_of(_wkb(value))).hex().upper()


def _vector(value: Any, *_: object) -> str:
    if not isinstance(value, list):
        return text_of(value)
    return "[" + ",".join(map(_short, value)) + "]"


def _sparse_vector(value: Any, *_: object) -> str:
    if not isinstance(value, dict):
        return text_of(value)
    elements, size = value["vector"], _integer(value["dimensions"])
    # Where keys are numbers, JSON has pairs in place of an object.
    pairs = elements.items() if isinstance(elements, dict) else elements
    return "{" + ",".join(f"{_integer(index)}:{_short(one)}" for index, one in pairs) + "}/" + size


def _short(value: Any) -> str:
    """Return a number of single precision as PostgreSQL prints it."""
    text = _float(value)
    sign, digits, exponent = Decimal(text).normalize().as_tuple()
    assert isinstance(exponent, int)
    scale = len(digits) + exponent - 1
    if text in ("0", "-0") or scale in _PLAIN:
        return f"{Decimal(text):f}"
    mantissa = "".join(map(str, digits))
    fraction = f".{mantissa[1:]}" if mantissa[1:] else ""
    return f"{'-' * sign}{mantissa[0]}{fraction}e{scale:+03}"


def _wkb(value: Any) -> Any:
    return value.get("wkb") if isinstance(value, dict) else None


def quoted(text: str) -> str:
    """Return a text in quotes, for an array or hstore."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


#: Prints a value of a type, by the schema of its field.
Printer = Callable[[Any, ColumnType, FieldSchema], str]
#: By the name of the type.
PRINTERS: Mapping[str, Printer] = {
    "bool": _boolean,
    **dict.fromkeys(("int2", "int4", "int8", "oid"), _integer),
    **dict.fromkeys(("float4", "float8"), _float),
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "time": _time,
    "timetz": _timetz,
    **dict.fromkeys(("bit", "varbit"), _bits),
    **dict.fromkeys(("json", "jsonb"), _json),
    "hstore": _hstore,
    "point": _point,
    **dict.fromkeys(("geometry", "geography"), _geometry),
    **dict.fromkeys(("vector", "halfvec"), _vector),
    "sparsevec": _sparse_vector,
}
