"""Dates and times as PostgreSQL prints them in a session with DateStyle = ISO and TimeZone = UTC."""

from __future__ import annotations

import re

_DAY = 86_400_000_000
#: The days that PostgreSQL's dates reach, and the microseconds of its timestamps, since 1970; what is beyond
#: them stands for infinity.
_DAYS = range(-2_440_588, 2_145_042_906)
_MOMENTS = range(-210_866_803_200_000_000, 9_223_372_036_825_200_000)
#: What the connector makes of infinite dates, and in arrays of them.
_INFINITE_DAYS = {
    -2_147_472_692: "infinity",
    -2_147_472_691: "-infinity",
    -622_191_234: "infinity",
    622_191_232: "-infinity",
}
_ISO = re.compile(
    r"([+-]?\d{4,9})-(\d\d)-(\d\d)"
    r"(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d(?::?\d\d)?(?::?\d\d)?)?", re.ASCII)


def date_text(days: int) -> str:
    """Return a date from the number of days since 1970-01-01."""
    if days in _INFINITE_DAYS:
        return _INFINITE_DAYS[days]
    if days not in _DAYS:
        return "infinity" if days > 0 else "-infinity"
    year, rest = _civil(days)
    return _with_era(year, rest)


def timestamp_text(microseconds: int) -> str:
    """Return a timestamp from the number of microseconds since 1970-01-01."""
    if microseconds not in _MOMENTS:
        return "infinity" if microseconds > 0 else "-infinity"
    days, time = divmod(microseconds, _DAY)
    year, rest = _civil(days)
    return _with_era(year, f"{rest} {time_text(time)}")


def time_text(microseconds: int) -> str:
    """Return a time of the day from the number of microseconds since midnight.

    Raises:
        ValueError: It is none.
    """
    if not 0 <= microseconds <= _DAY:
        raise ValueError("a time that no day has")
    seconds, fraction = divmod(microseconds, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:06}".rstrip("0") if fraction else text


def moment_of(text: str) -> int:
    """Return the number of microseconds since 1970-01-01 of a date or timestamp in ISO 8601.

    Without a zone it is one of UTC.

    Raises:
        ValueError: It is none.
    """
    found = _ISO.fullmatch(text)
    if found is None:
        raise ValueError("a moment that is not ISO 8601")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    days = _days(int(year), int(month), int(day))
    time = _microseconds(hour or "0", minute or "0", second, fraction)
    return days * _DAY + time - _offset(zone)


def zoned_time_text(text: str) -> str:
    """Return a time of the day with its zone from ISO 8601.

    Raises:
        ValueError: It is none.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("a time that is not ISO 8601")
    *time, zone = found.groups()
    return time_text(_microseconds(*time)) + ("+00" if zone in ("Z", None) else zone)


def time_of(text: str) -> int:
    """Return the number of microseconds since midnight of a time in ISO 8601, without its zone.

    Raises:
        ValueError: It is none.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("a time that is not ISO 8601")
    return _microseconds(*found.groups()[:4])


def _microseconds(hour: str, minute: str, second: str | None, fraction: str | None) -> int:
    whole = int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    return whole * 1_000_000 + int((fraction or "").ljust(6, "0")[:6])


def _offset(zone: str | None) -> int:
    if zone in ("Z", None):
        return 0
    assert zone is not None
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * 1_000_000
    return -offset if zone[0] == "-" else offset


def _with_era(year: int, rest: str) -> str:
    # There is no year 0: the one before 1 is 1 BC.
    return f"{year:04}-{rest}" if year > 0 else f"{1 - year:04}-{rest} BC"


def _civil(days: int) -> tuple[int, str]:
    """Return the year, and the month and day as text, of a day since 1970-01-01.

    Years are counted from March, so that the day that some of them lack is the last one.
    """
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    of_year = day - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    of_month = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (month <= 2), f"{month:02}-{of_month:02}"


def _days(year: int, month: int, day: int) -> int:
    """Return the number of days from 1970-01-01 to a date.

    Raises:
        ValueError: There is no such date.
    """
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        raise ValueError("a date that no calendar has")
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
