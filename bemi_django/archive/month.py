"""A month in UTC, which is what a partition of the log and a folder of the archive hold."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import NamedTuple

_TEXT = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)


class Month(NamedTuple):
    """A month of a year; it sorts as months do."""

    year: int
    number: int

    @property
    def start(self) -> datetime:
        """The first moment of the month."""
        return datetime(self.year, self.number, 1, tzinfo=timezone.utc)

    @property
    def next(self) -> Month:
        """The month that follows."""
        return Month(self.year + 1, 1) if self.number == 12 else Month(self.year, self.number + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


def parse_month(text: str) -> Month:
    """Return the month that is written as ``2025-12``.

    Raises:
        ValueError: The text is not a month.
    """
    found = _TEXT.fullmatch(text)
    if found is None or not 1 <= int(found[1]) < 9999:
        raise ValueError(f"{text!r} is not a month, such as 2025-12")
    return Month(int(found[1]), int(found[2]))


def month_of(moment: datetime) -> Month:
    """Return the month (UTC) of a moment."""
    in_utc = moment.astimezone(timezone.utc)
    return Month(in_utc.year, in_utc.month)
