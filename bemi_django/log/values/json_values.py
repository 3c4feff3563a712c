"""Convert Python values to JSON as the log has it, to compare them with values of rows and contexts."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from bemi_django.log.lossless_json import Number, dumps, loads
from bemi_django.log.printing import interval, json_text, range_text

# Python refuses to print longer integers; digits of PostgreSQL's numeric.
_LONG_INTEGER = 13_000
_MOST_DIGITS = 131_071
#: An integer with more has more digits than that.
_MOST_BITS = math.ceil((_MOST_DIGITS + 1) * math.log2(10))
_MOST_DECIMALS = 16_383
#: What expressions and queries have, of Django and of SQLAlchemy.
_EXPRESSIONS = ("resolve_expression", "__clause_element__", "self_group")
#: The text of a key that is a bigint, without zeros in front, and the first number with more digits.
_KEY = re.compile("-?[1-9][0-9]{0,18}|0")
_LEAST_LONG_KEY = 10**19
_UUID = re.compile("[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}")
_BOUNDS = ("lower", "upper", "lower_inc", "upper_inc", "isempty")


def contained(values: Mapping[str, Any]) -> str:
    """Return values as JSON text, for ``jsonb @>``. Every type that a model's field takes is accepted."""
    return dumps(_converted(dict(values)))


def contained_in_context(values: Mapping[str, Any]) -> list[str]:
    """Return the texts of which a context contains one if it has the values, for ``jsonb @>``.

    Contexts have numbers and texts as JSON has them, and of everything else its ``str()``. Those that were
    not set from Python may have it in the form of rows.
    """
    as_texts = dumps(_converted({key: _said(value) for key, value in values.items()}))
    return list(dict.fromkeys([contained(values), as_texts]))


def contained_user(user: Any) -> list[str]:
    """Return the texts of which a context contains one if a user made the change, for ``jsonb @>``.

    A key that is a number in the context may be a text where it is asked for, and the other way round; a UUID
    may be written in another way.
    """
    texts = contained_in_context({"user_id": user})
    said = _said(user)
    if isinstance(said, str) and _UUID.fullmatch(said):
        # A field takes one without hyphens, or in capital letters.
        return list(dict.fromkeys([*texts, contained({"user_id": str(UUID(said))})]))
    if isinstance(said, str) and _KEY.fullmatch(said):
        return [*texts, contained({"user_id": int(said)})]
    is_number = isinstance(said, int) and not isinstance(said, bool) and abs(said) < _LEAST_LONG_KEY
    return [*texts, contained({"user_id": str(said)})] if is_number else texts


def plain(value: Any) -> Any:
    """Return what a lazy value stands for, or the value itself.

    Raises:
        TypeError: It is an expression, or a query.
    """
    if _is_of_django(value, "django.utils.functional", "LazyObject"):
        # Whatever is asked of it sets it up.
        _ = value.__class__
        value = value.__dict__["_wrapped"]
    if _is_of_django(value, "django.utils.functional", "Promise"):
        _, (function, arguments, named, *_) = value.__reduce__()
        value = function(*arguments, **named)
    if any(hasattr(value, name) for name in _EXPRESSIONS) and not isinstance(value, type):
        raise TypeError(
            f"the log is asked for values, and {type(value).__name__} is an expression: "
            "evaluate it, and pass what it returns"
        )
    return value


def _is_of_django(value: Any, module: str, name: str) -> bool:
    # Where Django was not imported, no value is of its types.
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _said(value: Any) -> Any:
    value = plain(value)
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
    value = plain(value)
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
    if _is_of_django(value, "django.core.files.base", "File"):
        return _storable(value.name or "")
    if isinstance(value, bytearray):
        value = bytes(value)
    if all(hasattr(value, name) for name in _BOUNDS):
        return range_text(value)
    if hasattr(value, "_meta") and hasattr(value, "pk"):
        # A model's instance stands for its key.
        return _converted(value.pk)
    return _storable(str(loads(json_text(value))))


def _number(value: float | Decimal) -> Any:
    if isinstance(value, int) and value.bit_length() < _LONG_INTEGER:
        return value
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return _rounded(value)
    # Every digit of a float is the shortest text that is read as it.
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite():
        return "NaN" if exact.is_nan() else f"{'-' if exact < 0 else ''}Infinity"
    is_numeric = exact.adjusted() <= _MOST_DIGITS and exact.as_tuple().exponent >= -_MOST_DECIMALS  # type: ignore[operator]
    # Nothing in the log is a number that PostgreSQL cannot hold.
    return exact if is_numeric else f"{exact:.3E}"


def _rounded(value: int) -> str:
    """Return what a decimal of all digits would be rounded to, which takes a second to make."""
    power = int(value.bit_length() * math.log10(2)) - 20
    leading, rest = divmod(abs(value), 10**power)
    # Of the digits that are left out, whether there are others than zeros decides at a half.
    shortened = Decimal(f"{'-' if value < 0 else ''}{leading}{int(rest > 0)}E{power - 1}")
    return f"{shortened:.3E}"


def _storable(text: str) -> str:
    """Replace what jsonb cannot hold, as the log does."""
    return text.replace("\0", "\u2400").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
