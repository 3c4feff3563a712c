"""What is rendered is what the server's own ``to_jsonb`` makes of a value."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bemi_django.ingest.rows.values import Array, Castable, Composite, Type, encoder
from tests.support.pipeline import Drain

PAIR, PAIRS = 50_000, 50_001  # oids of no other type
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.text('a,{}()"\\ N')
TYPES: dict[int, Type] = {
    1009: Array(25, ","),
    3807: Array(3802, ","),
    PAIR: Composite((("number", 23), ("word", 25), ("words", 1009))),
    PAIRS: Array(PAIR, ","),
}
integers = st.integers(-(2**31), 2**31 - 1)
numerics = st.just(Decimal("NaN")) | st.decimals(-(10**30), 10**30, places=9)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
naive, aware = st.datetimes(), st.datetimes(timezones=zones)


def no_cast(type_: Castable, value: bytes) -> bytes:
    raise AssertionError(type_)


@pytest.mark.parametrize(
    ("cast", "oid", "values"),
    [
        pytest.param("%s::numeric", 1700, numerics, id="numeric"),
        pytest.param("%s::float8", 701, st.floats(), id="float8"),
        pytest.param("%s::timestamp", 1114, naive, id="timestamp"),
        pytest.param("%s::timestamptz", 1184, aware, id="timestamptz"),
        pytest.param("%s::text", 25, texts, id="text"),
        pytest.param("%s::text[]", 1009, st.lists(st.none() | texts), id="text[]"),
        pytest.param("%s::jsonb[]", 3807, st.lists(texts.map(json.dumps)), id="jsonb[]"),
        pytest.param(
            "ROW(%s, %s, %s::text[])::pair",
            PAIR,
            st.tuples(st.none() | integers, st.none() | texts, st.none() | st.lists(texts)),
            id="composite",
        ),
        pytest.param(
            "ARRAY[NULL, ROW(%s, %s, %s::text[])::pair]",
            PAIRS,
            st.tuples(st.none() | integers, st.none() | texts, st.none() | st.lists(texts)),
            id="composite[]",
        ),
    ],
)
def test_any_value_is_rendered_as_to_jsonb_renders_it(
    db: None, cast: str, oid: int, values: st.SearchStrategy[Any]
) -> None:
    encode = encoder(oid, TYPES, no_cast)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TYPE pair AS (number int, word text, words text[])")

        @settings(max_examples=50, suppress_health_check=[HealthCheck.nested_given])
        @given(values)
        def check(value: Any) -> None:
            parameters = value if isinstance(value, tuple) else [value]
            cursor.execute(
                f"SELECT value::text, to_jsonb(value)::text FROM (SELECT {cast}) made (value)",  # noqa: S608
                parameters,
            )
            printed, expected = cursor.fetchone()
            found = json.loads(encode(printed.encode()), parse_float=Decimal, parse_int=Decimal)
            assert found == json.loads(expected, parse_float=Decimal, parse_int=Decimal)

        check()


@pytest.mark.parametrize("size", [10, 2000])
def test_a_transaction_larger_than_the_buffer_is_whole(drain: Drain, size: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM changes")
        (before,) = cursor.fetchone()
        cursor.execute(
            "INSERT INTO todo (task, is_completed, created_at) "
            "SELECT repeat('x', 199), false, now() FROM generate_series(1, %s * 10)",
            [size],
        )
        drain()
        cursor.execute("SELECT count(*) FROM changes")
        assert cursor.fetchone() == (before + size * 10,)
        cursor.execute("SELECT count(DISTINCT id) FROM changes")
        assert cursor.fetchone() == (before + size * 10,)
