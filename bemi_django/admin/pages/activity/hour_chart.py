"""The chart of changes over time, and the hours of the week, without script or style."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from math import ceil, floor, log10
from typing import NamedTuple

from django.utils.formats import date_format
from django.utils.translation import ngettext

from bemi_django.admin.display.svg_charts import Bar
from bemi_django.admin.display.values.text_lists import comma_list
from bemi_django.admin.pages.activity.activity_range import ChartStep
from bemi_django.admin.pages.activity.hour_sums import HourSums
from bemi_django.admin.pages.activity.rankings import grouped

HEIGHT = 144
_TICKS = 3
_MARKS = 6
_GAP = 0.2
_LEVELS = 5
#: The height of a bar that would be too low to be seen.
_LOWEST = 1.0


class ChartColumn(NamedTuple):
    """A column of the chart: a link, the bars (x and width in per cent), and the numbers of its table."""

    step: ChartStep
    x: str
    width: str
    bars: list[Bar]
    total: str
    counts: list[str]
    numbers: list[int]


class Tick(NamedTuple):
    """A line of the axis, with its number."""

    y: float
    label: str


class Mark(NamedTuple):
    """A label below the chart, at so many per cent of its width; left out where there is little room."""

    x: str
    label: str
    is_roomy: bool


class HourChart(NamedTuple):
    """A stacked chart with axes, and what a table of it needs."""

    columns: list[ChartColumn]
    ticks: list[Tick]
    marks: list[Mark]
    kinds: list[str]
    height: int = HEIGHT


class HeatCell(NamedTuple):
    """An hour of a day of the week: its level from 0 to 5, a number, and a title."""

    level: int
    text: str
    title: str


class HeatRow(NamedTuple):
    """A day of the week."""

    label: str
    name: str
    cells: list[HeatCell]


def chart(steps: Sequence[ChartStep], sums: HourSums, kinds: Sequence[str]) -> HourChart:
    """Return the chart of a period.

    Args:
        steps: Its columns.
        sums: The numbers of changes by column and operation.
        kinds: Operations, from bottom to top.
    """
    counts = [sums.columns.get(place, Counter()) for place in range(len(steps))]
    shown = [kind for kind in kinds if any(column[kind] for column in counts)]
    unit, top = _axis(max((sum(column.values()) for column in counts), default=0))
    width = 100 / max(len(steps), 1)
    columns = []
    for number, (step, column) in enumerate(zip(steps, counts, strict=True)):
        y, bars = float(HEIGHT), []
        for kind in shown:
            if count := column[kind]:
                height = max(HEIGHT * count / top, _LOWEST)
                y -= height
                x = (number + _GAP / 2) * width
                bars.append(
                    Bar(round(x, 3), round(y, 1), round(width * (1 - _GAP), 3), round(height, 1), kind, "")
                )
        numbers = [column[kind] for kind in shown]
        texts = list(map(grouped, numbers))
        place = f"{number * width:.3f}"
        columns.append(ChartColumn(step, place, f"{width:.3f}", bars, grouped(sum(numbers)), texts, numbers))
    ticks = [
        Tick(round(HEIGHT - HEIGHT * value / top, 1), grouped(value)) for value in range(0, top + 1, unit)
    ]
    return HourChart(columns, ticks, list(_marks(steps, width)), shown)


def heat(totals: Counter[tuple[int, int]]) -> tuple[list[HeatRow], str]:
    """Return the rows of the hours of the week, and what is to be said of them."""
    most = max(totals.values(), default=0)
    # Any Monday.
    monday = date(2024, 1, 1)
    rows = []
    for weekday in range(7):
        day = monday + timedelta(days=weekday)
        name = date_format(day, "l")
        cells = []
        for hour in range(24):
            count = totals[(weekday, hour)]
            level = ceil(_LEVELS * count / most) if count else 0
            cells.append(HeatCell(level, grouped(count), comma_list((f"{name} {hour}:00", grouped(count)))))
        rows.append(HeatRow(date_format(day, "D"), name, cells))
    if not most:
        return rows, ""
    (weekday, hour), count = max(totals.items(), key=lambda item: item[1])
    told = {"day": rows[weekday].name, "hour": f"{hour}:00", "count": grouped(count)}
    text = ngettext(
        "%(day)s at %(hour)s was the busiest hour, with %(count)s change.",
        "%(day)s at %(hour)s was the busiest hour, with %(count)s changes.",
        count,
    )
    return rows, text % told


def _axis(highest: int) -> tuple[int, int]:
    """Return the distance of the lines of the axis, a round number, and its end."""
    rough = max(highest, 1) / _TICKS
    power = 10 ** floor(log10(rough)) if rough >= 1 else 1
    unit = next(int(factor * power) for factor in (1, 2, 5, 10) if factor * power >= rough)
    return unit, unit * ceil(max(highest, 1) / unit)


def _marks(steps: Sequence[ChartStep], width: float) -> Iterator[Mark]:
    distance = max(ceil(len(steps) / _MARKS), 1)
    for number, step in enumerate(steps[::distance]):
        yield Mark(f"{(number * distance + 0.5) * width:.3f}", step.label, number % 2 == 1)
