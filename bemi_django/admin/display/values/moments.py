"""Moments and days as the reader's language writes them, to the second; the exact ones stand beside them."""

from __future__ import annotations

import re
from datetime import date, datetime

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.formats import date_format, get_format

#: A moment as JSON has it; the groups are its parts.
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d:\d\d(?::\d\d)?)?$")
_DAY = re.compile(r"\d{4}-\d\d-\d\d$")
#: The hours of a day are counted to 24 in all languages: "3:42 a.m." has no place for seconds.
CLOCK = "H:i:s"


def moment_text(moment: datetime) -> str:
    """Return a moment in the current time zone, in words. A naive one stays as it is."""
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return date_format(local, f"{get_format('DATE_FORMAT')} {CLOCK}")


def stored_moment_text(value: str) -> str | None:
    """Return a moment as JSON has it in words, or None if the text is not one that the calendar has.

    Args:
        value: The text. With an offset, it is shown in the current time zone.
    """
    if not MOMENT.match(value):
        return None
    try:
        found = parse_datetime(value)
        return moment_text(found) if found is not None else None
    except (ValueError, OverflowError):
        return None


def stored_day_text(value: str) -> str | None:
    """Return a day as JSON has it in words, or None if the text is not one that the calendar has."""
    if not _DAY.match(value):
        return None
    try:
        found: date | None = parse_date(value)
    except ValueError:
        return None
    return date_format(found) if found is not None else None


def month_text(month: str) -> str:
    """Return a month such as ``2026-11`` in words."""
    return date_format(date.fromisoformat(f"{month}-01"), "YEAR_MONTH_FORMAT")


def fraction_of(value: str) -> str:
    """Return the digits after the seconds of a moment as JSON has it, with the point before them."""
    found = MOMENT.match(value)
    return found[3] or "" if found else ""
