from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bemi_django.ingest.debezium.printing.moments import (
    date_text,
    moment_of,
    time_of,
    timestamp_text,
    zoned_time_text,
)

_EPOCH = datetime(1970, 1, 1)


@settings(max_examples=50)
@given(st.datetimes())
def test_a_timestamp_is_printed_as_the_server_does(moment: datetime) -> None:
    microseconds = (moment - _EPOCH) // timedelta(microseconds=1)
    text = timestamp_text(microseconds)
    whole, _, fraction = text.partition(".")
    assert whole == moment.replace(microsecond=0).isoformat(" ")
    assert fraction == f"{moment.microsecond:06}".rstrip("0")
    assert moment_of(text.replace(" ", "T")) == microseconds
    assert date_text(moment.date().toordinal() - date(1970, 1, 1).toordinal()) == whole[:10]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("2024-02-29T23:59:60.5Z", "2024-03-01 00:00:00.5"),
        ("2024-01-01T01:00:00+02:00", "2023-12-31 23:00:00"),
        ("-0043-03-15T12:00:00Z", "0044-03-15 12:00:00 BC"),
        ("+12024-01-01T00:00:00.100000000Z", "12024-01-01 00:00:00.1"),
        ("+294247-01-10T04:00:25.2Z", "infinity"),
        ("-290308-12-21T19:59:27.6Z", "-infinity"),
    ],
)
def test_moments_of_iso_8601(text: str, printed: str) -> None:
    assert timestamp_text(moment_of(text)) == printed


@pytest.mark.parametrize(
    "text", ["", "2024-13-01", "2024-01-32", "24-01-01", "2024-01-01T", "now", "٢٠٢٤-01-01"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a "):
        moment_of(text)


def test_times_keep_their_zone() -> None:
    assert zoned_time_text("23:02:03.50Z") == "23:02:03.5+00"
    assert zoned_time_text("01:02:03+05:30") == "01:02:03+05:30"
    assert time_of("24:00:00") == 86_400_000_000


def test_the_zone_of_a_moment_is_utc() -> None:
    moment = datetime(2024, 7, 1, 12, tzinfo=timezone(timedelta(hours=-3)))
    assert timestamp_text(moment_of(moment.isoformat())) == "2024-07-01 15:00:00"
