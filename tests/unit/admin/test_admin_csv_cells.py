"""Spreadsheets run no cell of an export."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.admin.display.csv_cells import _HARMLESS, _is_formula, csv_cell
from bemi_django.admin.pages.export_lines import csv_moment, csv_text, json_moment

SIGNS = ["=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦", "﹢", "−"]
BLANKS = st.text("\n\r\t \u00a0\u3000\ufeff\u200b\u2028\x00\x0b", max_size=3)


@given(blanks=BLANKS, sign=st.sampled_from(SIGNS), rest=st.text("1+ABC()!|' ", min_size=1, max_size=8))
def test_a_formula_gets_an_apostrophe(blanks: str, sign: str, rest: str) -> None:
    text = f"{blanks}{sign}a{rest}"
    assert csv_cell(text) == f"'{text}"


@given(
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
)
def test_numbers_stay_numbers(number: object) -> None:
    assert csv_cell(str(number)) == str(number)
    assert csv_cell(number) == number


@pytest.mark.parametrize(
    "text", ["a=b", "42", "-5", "1e5", "-.5", "", "{}", '{"a": "=1"}', "ann@example.com", "Über"]
)
def test_other_text_is_left_alone(text: str) -> None:
    assert csv_cell(text) == text


@pytest.mark.parametrize("text", ["\n=1+1", " =1", "＝1+1", "\tx", "\rx", "-5+cmd", "--5", "+-1", "-1e"])
def test_what_was_reported_is_guarded(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


def test_moments_are_iso_8601() -> None:
    assert csv_cell(datetime(2026, 3, 1, tzinfo=timezone.utc)) == "2026-03-01T00:00:00+00:00"
    assert csv_cell(None) is None


@given(st.text(max_size=8))
def test_what_begins_harmlessly_is_no_formula(text: str) -> None:
    for start in _HARMLESS:
        assert not _is_formula(f"{start}{text}")


@given(st.datetimes(timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=5, minutes=45))])))
def test_moments_are_those_of_django_and_of_python(moment: datetime) -> None:
    printed = moment.isoformat(timespec="microseconds")
    assert f'"{json_moment(printed)}"' == json.dumps(moment, cls=DjangoJSONEncoder)
    assert csv_moment(printed) == moment.isoformat()


# The server has no text with NUL, and Python 3.10 reads none.
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(st.none() | st.integers() | st.booleans() | _TEXT)
def test_a_cell_is_read_as_it_was_written(value: Any) -> None:
    line = f"{csv_text(value)},{csv_text(value)}\r\n"
    expected = "" if value is None else str(csv_cell(value))
    assert list(csv.reader(io.StringIO(line, newline=""))) == [[expected, expected]]
