"""Compute a step chart: a number that keeps its value until the next change.

Across, positions are in per cent, so that nothing stretches; upwards, they are pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.utils.formats import get_format, number_format

HEIGHT = 144
#: The distance in per cent at which two labels do not touch.
_APART = 9
_LINES = 4
#: Numbers nearer to nothing than this are drawn as nothing: the width of a step between them has few digits.
_LEAST = 1e-280


class Level(NamedTuple):
    """A number, its text, from when on it held, and whether it was set outside the application."""

    number: float
    text: str
    since: datetime
    is_outside: bool = False


class Dot(NamedTuple):
    """Where a number began. ``text`` is empty where a label would touch another."""

    x: float
    y: float
    text: str
    is_outside: bool
    is_at_end: bool


class Segment(NamedTuple):
    """A straight line."""

    x1: float
    x2: float
    y1: float
    y2: float


class GridLine(NamedTuple):
    """A horizontal line of the axis, and its number."""

    y: float
    text: str


class StepChart(NamedTuple):
    """What a template draws: dots, the lines between them, and the axes."""

    dots: list[Dot]
    segments: list[Segment]
    grid: list[GridLine]
    first: datetime
    last: datetime
    height: int = HEIGHT


def step_chart(levels: Sequence[Level], end: datetime) -> StepChart | None:
    """Return the chart of a number over time.

    Args:
        levels: The numbers in the order of time.
        end: Until when the last one held.

    Returns:
        The chart, or None if fewer than two finite numbers are given, or no time passes between them.
    """
    levels = [_drawn(level) for level in levels if math.isfinite(level.number)]
    if len(levels) < 2 or end <= levels[0].since:
        return None
    begin, span = levels[0].since, (end - levels[0].since).total_seconds()
    grid = _grid([level.number for level in levels])
    low, high = grid[0], grid[-1]

    def x(moment: datetime) -> float:
        return round(min(max(100 * (moment - begin).total_seconds() / span, 0), 100), 2)

    def y(number: float) -> float:
        # Halves, because the difference of two large numbers may be infinite.
        return round(HEIGHT - HEIGHT * ((number / 2 - low / 2) / (high / 2 - low / 2)), 1)

    dots: list[Dot] = []
    segments: list[Segment] = []
    labelled = -float(_APART)
    for number, level in enumerate(levels):
        left, top = x(level.since), y(level.number)
        is_last = number == len(levels) - 1
        if segments:
            segments.append(Segment(left, left, segments[-1].y1, top))
        segments.append(Segment(left, 100 if is_last else x(levels[number + 1].since), top, top))
        is_free = left - labelled >= _APART and (is_last or 100 - left >= _APART)
        labelled = left if is_free else labelled
        is_at_end = left > 100 - _APART
        dots.append(Dot(left, top, level.text if is_free else "", level.is_outside, is_at_end))
    lines = [GridLine(y(number), _figure(number)) for number in grid]
    return StepChart(dots, segments, lines, begin, end)


def _drawn(level: Level) -> Level:
    return level if abs(level.number) >= _LEAST else level._replace(number=0.0)


def _grid(numbers: Sequence[float]) -> list[float]:
    """Return a few round numbers that enclose others: 1, 2 or 5 times a power of ten apart."""
    low, high = min(*numbers, 0), max(numbers)
    if low >= 0 and low == 0 and min(numbers) > high * 0.8:
        # Far above nothing, differences would not be seen.
        low = min(numbers)
    width = high / _LINES - low / _LINES
    if width == 0:
        above = low + (abs(low) or 1)
        return [low, above] if math.isfinite(above) else [low / 2, low]
    power = 10.0 ** math.floor(math.log10(width))
    step = next((power * factor for factor in (1, 2, 5) if power * factor >= width), power * 10)
    first, last = math.floor(low / step), math.ceil(high / step)
    found = [step * number for number in range(first, last + 1)]
    return found if found[0] < found[-1] and all(map(math.isfinite, found)) else [low, high]


def _figure(number: float) -> str:
    if number == round(number) and abs(number) < 1e15:
        return number_format(round(number), force_grouping=True)
    return f"{number:.4g}".replace(".", get_format("DECIMAL_SEPARATOR"))
