"""``BEMI_RETENTION`` and ``BEMI_LEGAL_HOLD``, read without asking a database."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import time
from typing import Any, NamedTuple

from django.apps import apps
from django.db import models

from bemi_django.wire.table_name import split

_PERIOD = re.compile(r"([1-9][0-9]{0,4}) (day|week|month|year)s?")
#: Days of a unit, and of the longest period: the server counts back no further than to 4713 BC.
_DAYS, _LONGEST = {"day": 1, "week": 7, "month": 31, "year": 366}, 366_000
FOREVER, DEFAULT = "forever", "default"
#: In a list, what True is: environment variables have lists only.
ALL = "*"


class NamedRule(NamedTuple):
    """How long the changes of a table are kept.

    Attributes:
        name: The model as ``app.Model`` or the table as ``schema.table``, where parts may be in double
            quotes; empty for all others.
        model: The model, if it is one.
        period: An interval of PostgreSQL; None for ever.
        is_held: Whether nothing is removed, whatever other rules say.
    """

    name: str
    model: type[models.Model] | None = None
    period: str | None = None
    is_held: bool = False


def parse(retention: Any, hold: Any) -> list[NamedRule]:
    """Return the rules that two settings stand for.

    Args:
        retention: ``BEMI_RETENTION``.
        hold: ``BEMI_LEGAL_HOLD``.

    Raises:
        ValueError: One of them is wrong; the message names it and says what it has to be.
    """
    if not isinstance(retention, Mapping):
        raise ValueError(
            "BEMI_RETENTION must be a dict, such as {'default': 'forever', 'shop.Visit': '30 days'}"
        )
    return [*_periods(retention), *_holds(hold)]


def days_of(period: str | None) -> float:
    """Return about how many days a period of a rule has; None is for ever."""
    if period is None:
        return math.inf
    number, _, unit = period.partition(" ")
    return int(number) * _DAYS[unit.removesuffix("s")]


def time_of_day(value: Any) -> time | None:
    """Return ``BEMI_PRUNE_AT`` as a time of day, or None.

    Raises:
        ValueError: It is neither None nor a time such as ``03:30``.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]", value):
        return time.fromisoformat(value)
    raise ValueError(f"BEMI_PRUNE_AT is {value!r}: use a time of day, such as '03:30'")


def _periods(retention: Mapping[Any, Any]) -> Iterator[NamedRule]:
    for name, period in retention.items():
        if not _is_period(period):
            raise ValueError(
                f"BEMI_RETENTION keeps {name!r} for {period!r}: use 'forever', or a number of days, weeks, "
                "months or years, such as '30 days', of 1000 years at most"
            )
        kept_for = None if period == FOREVER else period
        if name == DEFAULT:
            yield NamedRule("", None, kept_for)
        else:
            yield NamedRule(str(name), _model("BEMI_RETENTION", name), kept_for)


def _is_period(period: Any) -> bool:
    found = _PERIOD.fullmatch(period) if isinstance(period, str) else None
    return period == FOREVER or found is not None and int(found[1]) * _DAYS[found[2]] <= _LONGEST


def _holds(hold: Any) -> Iterator[NamedRule]:
    if hold is True or isinstance(hold, (list, tuple)) and list(hold) == [ALL]:
        yield NamedRule("", is_held=True)
    elif isinstance(hold, (list, tuple, set, frozenset)):
        for name in hold:
            yield NamedRule(str(name), _model("BEMI_LEGAL_HOLD", name), is_held=True)
    elif hold:
        raise ValueError(f"BEMI_LEGAL_HOLD is {hold!r}: use True, or a list of models and tables")


def _model(setting: str, name: Any) -> type[models.Model] | None:
    parts = split(name) if isinstance(name, str) else None
    if parts is None or parts.schema is None:
        others = "True for all tables" if setting == "BEMI_LEGAL_HOLD" else "'default' for all others"
        raise ValueError(
            f"{setting} names {name!r}: use {others}, a model as 'app.Model', or a table as 'schema.table', "
            "with a part that has a dot in double quotes: 'schema.\"a.b\"'"
        )
    if '"' in name:
        return None
    try:
        found: type[models.Model] = apps.get_model(parts.schema, parts.name)
    except LookupError:
        if parts.schema in apps.app_configs:
            raise ValueError(
                f"{setting} names {name!r}: the app {parts.schema!r} has no such model"
            ) from None
        return None
    return found
