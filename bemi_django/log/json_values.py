"""Convert Python values to JSON as the log has it, to compare them with values of rows and contexts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any

from bemi_django.log.lossless_json import Number, dumps, loads
from bemi_django.log.printing import interval, json_text

# Python refuses to print longer integers; digits of PostgreSQL's numeric.
_LONG_INTEGER = 13_000
_MOST_DIGITS = 131_071
_MOST_DECIMALS = 16_383


def contained(values: Mapping[str, Any]) -> str:
    """Return values as JSON text, for ``jsonb @>``. Every type that a model's field takes is accepted."""
    return dumps(_converted(dict(values)))


def contained_in_row(values: Mapping[str, Any], zone: tzinfo | None) -> list[str]:
    """Return the texts of which a row contains one if it has the values, for ``jsonb @>``.

    Args:
        values: Values by column.
        zone: The time zone of times without one, for columns that have it; None if they stand for themselves.
    """
    forms = (
        [values] if zone is None else [values, {key: _aware(value, zone) for key, value in values.items()}]
    )
    return list(dict.fromkeys(map(contained, forms)))


def _aware(value: Any, zone: tzinfo) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=zone)
    if isinstance(value, (list, tuple)):
        return [_aware(part, zone) for part in value]
    return value


def contained_in_context(values: Mapping[str, Any]) -> list[str]:
    """Return the texts of which a context contains one if it has the values, for ``jsonb @>``.

    Contexts have numbers and texts as JSON has them, and of everything else its ``str()``. Those that were
    not set from Python may have it in the form of rows.
    """
    as_texts = dumps(_converted({key: _said(value) for key, value in values.items()}))
    return list(dict.fromkeys([contained(values), as_texts]))


def _said(value: Any) -> Any:
    if hasattr(value, "_meta") and hasattr(value, "pk"):
        return _said(value.pk)
    if isinstance(value, Mapping):
        return {key: _said(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_said(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, Number)):
        return value
    if isinstance(value, str):
        # Of an enum that is a text, JSON has the text.
        return str.__str__(value)
    return str(value)


def _converted(value: Any) -> Any:
    if isinstance(value, Enum):
        return _converted(value.value)
    if value is None or isinstance(value, (bool, Number)):
        return value
    if isinstance(value, (int, float, Decimal)):
        return _number(value)
    if isinstance(value, str):
        return _storable(str(value))
    if isinstance(value, Mapping):
        return {_storable(str(key)): _converted(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_converted(part) for part in value]
    if isinstance(value, timedelta):
        return interval(value)
    if hasattr(value, "_meta") and hasattr(value, "pk"):
        # A model's instance stands for its key.
        return _converted(value.pk)
    return _storable(str(loads(json_text(value))))


def _number(value: float | Decimal) -> Any:
    if isinstance(value, int) and value.bit_length() < _LONG_INTEGER:
        return value
    # Every digit of a float is the shortest text that is read as it.
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite():
        return "NaN" if exact.is_nan() else f"{'-' if exact < 0 else ''}Infinity"
    is_numeric = exact.adjusted() <= _MOST_DIGITS and exact.as_tuple().exponent >= -_MOST_DECIMALS  # type: ignore[operator]
    # Nothing in the log is a number that PostgreSQL cannot hold.
    return exact if is_numeric else f"{exact:.3E}"


def _storable(text: str) -> str:
    """Replace what jsonb cannot hold, as the log does."""
    return text.replace("\0", "\u2400").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
