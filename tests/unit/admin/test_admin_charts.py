"""Where bars and lines are."""

from __future__ import annotations

from django.utils.translation import override

from bemi_django.admin.display import svg_charts
from bemi_django.admin.pages.health.amounts import bytes_text, count_text, seconds_text


def test_bars_stand_on_each_other_and_fill_the_height() -> None:
    chart = svg_charts.stacked(["a", "b"], [{"UPDATE": 1, "CREATE": 3}, {}], ("CREATE", "UPDATE"), count_text)
    lower, upper = chart.bars
    assert (lower.kind, lower.height, lower.y) == ("CREATE", 105, 35)
    assert (upper.kind, upper.height, upper.y) == ("UPDATE", 35, 0)
    assert lower.title == "a: 3"
    assert chart.highest == "4"


def test_a_line_goes_from_edge_to_edge() -> None:
    chart = svg_charts.line(["a", "b", "c"], [0, 2.5, 5], seconds_text)
    assert chart.line == "0.0,140.0 360.0,70.0 720.0,0.0"
    assert chart.highest == "5 s"
    assert svg_charts.line(["a", "b"], [0, 0.25], seconds_text).highest == "0.25 s"


def test_a_few_labels_are_shown_at_equal_distances() -> None:
    chart = svg_charts.line([str(number) for number in range(41)], [0] * 41, seconds_text)
    assert chart.marks == ["0", "10", "20", "30", "40"]


def test_nothing_is_a_chart_too() -> None:
    assert svg_charts.stacked([], [], ("CREATE",), count_text).bars == []
    assert svg_charts.line([], [], seconds_text).marks == []
    assert svg_charts.line(["a"], [0], seconds_text).line == "0.0,140.0"


def test_amounts_are_those_of_the_reader_s_language() -> None:
    with override("de"):
        assert (seconds_text(0.25), seconds_text(12.4), count_text(17152)) == ("0,25 s", "12 s", "17.152")
        assert seconds_text(0.239) == "0,24 s"
        assert bytes_text(1536) == "1,5\xa0KB"
    with override("fr"):
        assert bytes_text(20 * 2**20) == "20,0\xa0Mio"
