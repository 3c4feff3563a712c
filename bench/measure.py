"""Measurements in rounds: each runs everything once, so a ratio compares runs side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Median, minimum and maximum of some numbers."""

    median: float
    low: float
    high: float

    def show(self, digits: int = 2) -> str:
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(numbers: Sequence[float]) -> Spread:
    return Spread(statistics.median(numbers), min(numbers), max(numbers))


def percentile(numbers: Sequence[float], share: float) -> float:
    """Return the number that *share* of the numbers do not exceed."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def rounds(count: int, runs: Mapping[str, Callable[[], float]], warm: int = 0) -> dict[str, list[float]]:
    """Run everything *count* times, in rounds that each begin with another one.

    Another *warm* rounds come first and are not counted.
    """
    names = list(runs)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warm + count):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            number = runs[name]()
            if turn >= warm:
                found[name].append(number)
    return found


def ratios(numbers: Sequence[float], base: Sequence[float]) -> Spread:
    """Return the spread of the ratios, round by round."""
    return spread([number / other for number, other in zip(numbers, base, strict=True)])
