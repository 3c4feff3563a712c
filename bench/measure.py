"""Numbers that were measured in turns: a round has one of each, so a ratio compares what ran side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Median, least and most of some numbers."""

    median: float
    low: float
    high: float

    def show(self, digits: int = 2) -> str:
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(numbers: Sequence[float]) -> Spread:
    return Spread(statistics.median(numbers), min(numbers), max(numbers))


def percentile(numbers: Sequence[float], share: float) -> float:
    """The number that ``share`` of the numbers do not exceed."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def rounds(count: int, runs: Mapping[str, Callable[[], float]], warm: int = 0) -> dict[str, list[float]]:
    """Run all of them, one after the other, ``count`` times; every round begins with another one.

    The first ``warm`` rounds do not count.
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
    """Round by round."""
    return spread([number / other for number, other in zip(numbers, base, strict=True)])
