"""Print the values of keys as PostgreSQL does in a session with ``ROW_SETTINGS``."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from typing import Any


def key_text(values: Sequence[Any]) -> str:
    """Return ``changes.primary_key`` for a key's values: one as text, several as a JSON array."""
    if len(values) == 1:
        return text(values[0])
    return f"[{', '.join(map(json_text, values))}]"


def text(value: Any) -> str:
    """Return a value as text, as PostgreSQL's output functions print it."""
    if isinstance(value, Enum):
        return text(value.value)
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Decimal):
        # Without an exponent.
        return f"{value:f}" if value.is_finite() else _special(float(value))
    if isinstance(value, datetime.timedelta):
        return interval(value)
    if isinstance(value, datetime.datetime):
        return _trimmed(_in_utc(value).isoformat(" ")) + ("+00" if value.tzinfo else "")
    if isinstance(value, datetime.time):
        return _trimmed(value.isoformat())
    if isinstance(value, (bytes, memoryview)):
        return "\\x" + bytes(value).hex()
    return str(value)


def json_text(value: Any) -> str:
    """Return a value as JSON, as ``to_jsonb`` prints it."""
    if isinstance(value, Enum):
        return json_text(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # As a number of any length, and the sign of zero is lost.
        value = Decimal(repr(value)) if value else Decimal(0)
        value = (
            value.to_integral_value() if value.is_finite() and value == value.to_integral_value() else value
        )
    if isinstance(value, int) or isinstance(value, Decimal) and value.is_finite():
        return text(value)
    if isinstance(value, datetime.datetime):
        printed = _trimmed(_in_utc(value).isoformat())
        return json.dumps(printed + ("+00:00" if value.tzinfo else ""))
    return json.dumps(text(value), ensure_ascii=False)


def interval(value: datetime.timedelta) -> str:
    """Return a timedelta as PostgreSQL prints it with ``IntervalStyle = postgres``."""
    hours, seconds = divmod(value.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    fraction = f".{value.microseconds:06d}".rstrip("0") if value.microseconds else ""
    time = f"{'+' if value.days < 0 else ''}{hours:02}:{minutes:02}:{seconds:02}{fraction}"
    days = f"{value.days} day{'' if value.days == 1 else 's'}" if value.days else ""
    has_time = bool(value.seconds or value.microseconds or not days)
    return " ".join([part for part in (days, time if has_time else "") if part])


def range_text(value: Any) -> str:
    """Return a range of any driver as PostgreSQL prints it; one of whole numbers or days as it stores it."""
    if value.isempty:
        return "empty"
    lower, upper, has_lower, has_upper = value.lower, value.upper, value.lower_inc, value.upper_inc
    if _is_whole(lower) and not has_lower:
        lower, has_lower = _next(lower), True
    if _is_whole(upper) and has_upper:
        upper, has_upper = _next(upper), False
    ends = ("" if end is None else _quoted(text(end)) for end in (lower, upper))
    return f"{'[' if has_lower else '('}{','.join(ends)}{']' if has_upper else ')'}"


def _is_whole(end: Any) -> bool:
    is_day = isinstance(end, datetime.date) and not isinstance(end, datetime.datetime)
    return is_day or isinstance(end, int)


def _next(end: Any) -> Any:
    return end + (1 if isinstance(end, int) else datetime.timedelta(days=1))


def _quoted(end: str) -> str:
    return f'"{end}"' if " " in end else end


def _float(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return _special(value)
    if 1e15 <= abs(value) < 1e16:
        # From here on, PostgreSQL writes an exponent, and Python does from the next power of ten on.
        digits = repr(abs(value)).replace(".", "").rstrip("0")
        printed = f"{digits[0]}.{digits[1:]}".rstrip(".")
        return f"{'-' if value < 0 else ''}{printed}e+15"
    return repr(value).removesuffix(".0")


def _special(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _trimmed(printed: str) -> str:
    return printed.rstrip("0").rstrip(".") if "." in printed else printed


def _in_utc(value: datetime.datetime) -> datetime.datetime:
    return value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
