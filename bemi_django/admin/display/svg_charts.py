"""Compute the positions of bars and lines in SVG charts, which need no script and no style."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

WIDTH = 720
HEIGHT = 140
_GAP = 0.2
_MARKS = 4


class Bar(NamedTuple):
    """A segment of a column. The style sheet colours it by ``kind``."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


class Chart(NamedTuple):
    """A bar chart (``bars``) or a line chart (``line``, SVG points), with a few labels (``marks``)."""

    bars: list[Bar]
    marks: list[str]
    line: str
    highest: str
    width: int = WIDTH
    height: int = HEIGHT


def stacked(
    labels: Sequence[str],
    columns: Sequence[Mapping[str, int]],
    kinds: Sequence[str],
    text: Callable[[float], str],
) -> Chart:
    """Return a bar chart with a column for each label.

    Args:
        labels: The labels of the columns.
        columns: Counts by kind, one mapping per label.
        kinds: The kinds, from bottom to top.
        text: Returns a number for people.
    """
    highest = max((sum(column.values()) for column in columns), default=0)
    step = WIDTH / max(len(columns), 1)
    bars = []
    for number, (label, column) in enumerate(zip(labels, columns, strict=True)):
        y = float(HEIGHT)
        for kind in kinds:
            if count := column.get(kind, 0):
                height = HEIGHT * count / highest
                y -= height
                title = f"{label}: {text(count)}"
                left = _rounded((number + _GAP / 2) * step)
                bars.append(
                    Bar(left, _rounded(y), _rounded(step * (1 - _GAP)), _rounded(height), kind, title)
                )
    return Chart(bars, _marks(labels), "", text(highest))


def line(labels: Sequence[str], values: Sequence[float], text: Callable[[float], str]) -> Chart:
    """Return a line chart through equidistant values.

    Args:
        labels: The labels of the values.
        values: The values.
        text: Returns a value for people.
    """
    highest = max(values, default=0)
    step = WIDTH / max(len(values) - 1, 1)
    points = [
        f"{_rounded(number * step)},{_rounded(HEIGHT - HEIGHT * value / (highest or 1))}"
        for number, value in enumerate(values)
    ]
    return Chart([], _marks(labels), " ".join(points), text(highest))


def _marks(labels: Sequence[str]) -> list[str]:
    """Return a few labels at equal distances; all of them would overlap."""
    last = len(labels) - 1
    numbers = {round(last * part / _MARKS) for part in range(_MARKS + 1)} if labels else set()
    return [labels[number] for number in sorted(numbers)]


def _rounded(number: float) -> float:
    return round(number, 1)
