"""The step chart of a number: nothing is drawn outside of it, whatever the numbers are."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bemi_django.admin.display.svg_steps import HEIGHT, Level, step_chart

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def levels(*numbers: float) -> list[Level]:
    return [Level(number, str(number), BEGIN + timedelta(days=n)) for n, number in enumerate(numbers)]


@pytest.mark.parametrize("numbers", [(), (1,), (math.inf, 1), (math.nan, math.inf)])
def test_fewer_than_two_numbers_have_no_chart(numbers: tuple[float, ...]) -> None:
    assert step_chart(levels(*numbers), BEGIN + timedelta(days=9)) is None


def test_a_time_that_does_not_pass_has_no_chart() -> None:
    assert step_chart(levels(1, 2), BEGIN) is None


def test_a_number_keeps_its_value_until_the_next() -> None:
    chart = step_chart(levels(99, 109, 119, 10.5), BEGIN + timedelta(days=4))
    assert chart is not None
    assert [line.text for line in chart.grid] == ["0", "50", "100", "150"]
    assert [(dot.x, dot.y) for dot in chart.dots] == [(0, 49), (25, 39.4), (50, 29.8), (75, 133.9)]
    flat = [(line.x1, line.x2) for line in chart.segments if line.y1 == line.y2]
    assert flat == [(0, 25), (25, 50), (50, 75), (75, 100)]
    upright = [(line.x1, line.y1, line.y2) for line in chart.segments if line.x1 == line.x2]
    assert upright == [(25, 49, 39.4), (50, 39.4, 29.8), (75, 29.8, 133.9)]


def test_small_differences_far_from_nothing_are_seen() -> None:
    chart = step_chart(levels(1000, 1001, 1003), BEGIN + timedelta(days=3))
    assert chart is not None and chart.grid[0].text == "1,000"


def test_labels_do_not_touch() -> None:
    chart = step_chart(levels(*range(200)), BEGIN + timedelta(days=200))
    assert chart is not None
    places = [dot.x for dot in chart.dots if dot.text]
    assert 5 < len(places) < 15
    assert all(right - left >= 9 for left, right in zip(places, places[1:], strict=False))


@pytest.mark.parametrize("least", [5e-324, 2e-323, 1e-310, 1e-300])
def test_numbers_next_to_nothing_are_drawn_as_nothing(least: float) -> None:
    for numbers in ((0, least), (-least, least), (least, math.nextafter(least, 1))):
        chart = step_chart(levels(*numbers), BEGIN + timedelta(days=2))
        assert chart is not None and {dot.y for dot in chart.dots} == {HEIGHT}


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([-math.inf, 0, math.inf]))
def test_adjacent_numbers_have_a_chart(number: float, towards: float) -> None:
    other = math.nextafter(number, towards)
    assert step_chart(levels(number, other), BEGIN + timedelta(days=2)) is not None or math.isinf(other)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20), st.integers(1, 40))
@example([8.98846567431158e307] * 2, 1)
def test_everything_is_inside(numbers: list[float], days: int) -> None:
    chart = step_chart(levels(*numbers), BEGIN + timedelta(days=days))
    if chart is not None:
        assert len(chart.grid) <= 20
        for dot in chart.dots:
            assert 0 <= dot.x <= 100 and 0 <= dot.y <= HEIGHT
