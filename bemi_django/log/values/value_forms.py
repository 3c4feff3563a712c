"""The forms that a value may have in a row of the log, where the type of its column is not known.

A model's field takes values in many types: a ``DecimalField`` takes ``"2.20"``, a ``CharField`` takes 5. A
column has one type, so it can have a value in one of its forms only.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from bemi_django.log.values.json_values import plain

_NUMBER = re.compile(
    r"\s*[-+]?(?:[0-9]{1,1000}(?:\.[0-9]{0,1000})?|\.[0-9]{1,1000})(?:[eE][-+]?[0-9]{1,3})?\s*"
)
_FLAGS = {"t": True, "true": True, "True": True, "f": False, "false": False, "False": False}
# Longer ones are none of what is read.
_LONGEST = 100


def forms_of(value: Any, zone: tzinfo) -> list[Any]:
    """Return a value, and what else a column may have that was given it.

    Args:
        value: A value of any type that fields take.
        zone: The time zone of moments without one.

    Raises:
        TypeError: It is an expression, or a query.
    """
    value = plain(value)
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, (list, tuple)):
        return [value, [_aware(part, zone) for part in value]]
    return [value, *_others(value, zone)]


def _others(value: Any, zone: tzinfo) -> Iterator[Any]:
    if isinstance(value, str):
        yield from _read(str(value), zone)
    elif isinstance(value, bool):
        yield int(value)
    elif isinstance(value, (int, float, Decimal)):
        # Longer integers than Python prints, and what is no number at all.
        with suppress(ArithmeticError, ValueError):
            yield str(value)
            if value in (0, 1):
                yield bool(value)
    elif isinstance(value, datetime):
        yield _aware(value, zone)
        yield (value.astimezone(zone) if value.tzinfo else value).date()
    elif isinstance(value, date):
        yield datetime.combine(value, time.min)
        yield datetime.combine(value, time.min, zone)


def _read(text: str, zone: tzinfo) -> Iterator[Any]:
    if _NUMBER.fullmatch(text):
        yield Decimal(text.strip())
    if text in _FLAGS:
        yield _FLAGS[text]
    if text in ("0", "1"):
        yield text == "1"
    for reader in _readers() if len(text) <= _LONGEST else ():
        with suppress(ValueError, ArithmeticError):
            found = reader(text)
            if isinstance(found, datetime):
                yield from (found, _aware(found, zone))
            elif isinstance(found, date):
                yield from (found, datetime.combine(found, time.min, zone))
            elif isinstance(found, (time, timedelta, UUID, ipaddress.IPv4Address, ipaddress.IPv6Address)):
                yield found


def _readers() -> Iterable[Callable[[str], Any]]:
    """Return what reads the texts that stand for other values."""
    # Imported by the models of a project, and by nothing else: without them, Python reads what it can.
    of_time: tuple[Callable[[str], Any], ...]
    if django := sys.modules.get("django.utils.dateparse"):
        of_time = django.parse_datetime, django.parse_date, django.parse_time, django.parse_duration
    else:
        of_time = datetime.fromisoformat, date.fromisoformat, time.fromisoformat
    return (*of_time, UUID, ipaddress.ip_address)


def _aware(value: Any, zone: tzinfo) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=zone)
    if isinstance(value, (list, tuple)):
        return [_aware(part, zone) for part in value]
    return value
