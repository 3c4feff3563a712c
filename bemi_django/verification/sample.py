"""A share or a number of the rows of each table: so many parts, of which each run compares another one."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from bemi_django.verification.table.table_queries import Slice


class RowSample(NamedTuple):
    """A part of the rows: ``percent`` of them, or about ``rows`` of each table."""

    text: str
    percent: float | None = None
    rows: int | None = None

    def part(self, round_: int, estimate: int) -> Slice:
        """Return the part of a table's rows to compare.

        Args:
            round_: The number of runs with the same sample before. One after another they compare all parts.
            estimate: The number of rows of the table.
        """
        if self.percent is not None:
            return Slice(round_, max(round(100 / self.percent), 1))
        return Slice(round_, max(math.ceil(estimate / (self.rows or 1)), 1))


def parse_sample(text: str) -> RowSample:
    """Return the sample that a text such as ``5%`` or ``10000`` describes.

    Raises:
        ValueError: It describes none.
    """
    if re.fullmatch(r"\d+(\.\d+)?%", text) and 0 < float(text[:-1]) <= 100:
        return RowSample(text, percent=float(text[:-1]))
    if re.fullmatch(r"\d{1,18}", text) and int(text):
        return RowSample(text, rows=int(text))
    raise ValueError(f"{text!r} is neither a share of the rows, such as 5%, nor their number, such as 10000")
