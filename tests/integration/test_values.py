"""What is stored is what ``to_jsonb(row)`` gave, type by type."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bemi_django import tracking
from bemi_django.wal.values import Type, encoder
from tests.integration.conftest import Drain

VALUES = [
    ("bigint", "9007199254740993"),
    ("numeric", "'NaN'"),
    ("numeric", "12345678901234567890.123456789012345678901234567890"),
    ("float8", "'-Infinity'"),
    ("float8", "0.1"),
    ("boolean", "true"),
    ("text", "E'quote \" back \\\\ tab \\t é 😀'"),
    ("bytea", "'\\xdeadbeef'"),
    ("uuid", "'6f1c0b0e-0000-4000-8000-000000000000'"),
    ("date", "'0044-03-15 BC'"),
    ("timestamp", "'2026-01-02 03:04:05.678901'"),
    ("timestamp", "'infinity'"),
    ("timestamptz", "'2026-01-02 03:04:05+05:30'"),
    ("timestamptz", "'0044-03-15 00:00:00 BC'"),
    ("interval", "'1 day 02:03:04'"),
    ("json", """'{"a": [1, {"b": 12345678901234567890123}]}'"""),
    ("jsonb", """'{"b": null, "a": "\\"x"}'"""),
    ("int[]", "'[0:1]={1,NULL}'"),
    ("int[]", "'{{1,2},{3,4}}'"),
    ("int[]", "'{}'"),
    ("text[]", """ARRAY['a,b', '{}', '"q" \\ b', '', NULL, 'NULL', ' x ']"""),
    ("jsonb[]", """ARRAY['{"a": "x,y"}'::jsonb]"""),
    ("timestamptz[]", "ARRAY['2026-01-02 03:04:05+00'::timestamptz, 'infinity']"),
    ("pair", """ROW(1, 'a "b", (c)\\', NULL)"""),
    ("pair[]", """ARRAY[ROW(1, 'x', ARRAY[1,2])::pair, ROW(NULL, '', NULL)::pair]"""),
    ("positive", "7"),
    ("mood", "'very \"happy\"'"),
    ("int4range", "'[1,5)'"),
    ("inet", "'10.0.0.1/8'"),
    ("bit(3)", "'101'"),
    ("point", "'(1,2)'"),
    ("tsvector", "'a b c'"),
    ("int2vector", "'1 2'"),
    ("oid", "42"),
]
TYPES = """
CREATE TYPE pair AS (number int, word text, more int[]);
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE TYPE mood AS ENUM ('sad', 'very "happy"');
"""


def test_every_type_is_stored_as_to_jsonb_gives_it(drain: Drain) -> None:
    columns = ", ".join(f'"c{number}" {kind}' for number, (kind, _) in enumerate(VALUES))
    with connection.cursor() as cursor:
        cursor.execute(TYPES)
        cursor.execute(f"CREATE TABLE every (id int PRIMARY KEY, {columns})", None)
        try:
            tracking.sync()
            literals = ", ".join(literal for _, literal in VALUES)
            cursor.execute(f"INSERT INTO every VALUES (1, {literals})", None)  # noqa: S608 - constants above
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute("SELECT key, value::text FROM every, jsonb_each(to_jsonb(every)) WHERE id = 1")
            expected = dict(cursor.fetchall())
            drain()
            cursor.execute(
                "SELECT key, value::text FROM changes, jsonb_each(after) "
                "WHERE \"table\" = 'every' AND primary_key = '1'"
            )
            assert dict(cursor.fetchall()) == expected
        finally:
            cursor.execute("DROP TABLE every; DROP TYPE pair; DROP DOMAIN positive; DROP TYPE mood")


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.text('a,{}()"\\ N')
TEXT = Type("text")
WORDS = Type("_text", TEXT)
PAIR = Type("user-defined", fields=(("number", Type("int4")), ("word", TEXT), ("words", WORDS)))
integers = st.integers(-(2**31), 2**31 - 1)
numerics = st.just(Decimal("NaN")) | st.decimals(-(10**30), 10**30, places=9)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
naive, aware = st.datetimes(), st.datetimes(timezones=zones)


@pytest.mark.parametrize(
    ("cast", "type_", "values"),
    [
        pytest.param("%s::numeric", Type("numeric"), numerics, id="numeric"),
        pytest.param("%s::float8", Type("float8"), st.floats(), id="float8"),
        pytest.param("%s::timestamp", Type("timestamp"), naive, id="timestamp"),
        pytest.param("%s::timestamptz", Type("timestamptz"), aware, id="timestamptz"),
        pytest.param("%s::text", TEXT, texts, id="text"),
        pytest.param("%s::text[]", WORDS, st.lists(st.none() | texts), id="text[]"),
        pytest.param(
            "%s::jsonb[]", Type("_jsonb", Type("jsonb")), st.lists(texts.map(json.dumps)), id="jsonb[]"
        ),
        pytest.param(
            "ROW(%s, %s, %s::text[])::pair",
            PAIR,
            st.tuples(st.none() | integers, st.none() | texts, st.none() | st.lists(texts)),
            id="composite",
        ),
        pytest.param(
            "ARRAY[NULL, ROW(%s, %s, %s::text[])::pair]",
            Type("_pair", PAIR),
            st.tuples(st.none() | integers, st.none() | texts, st.none() | st.lists(texts)),
            id="composite[]",
        ),
    ],
)
def test_any_value_is_rendered_as_to_jsonb_renders_it(
    db: None, cast: str, type_: Type, values: st.SearchStrategy[Any]
) -> None:
    encode = encoder(type_)
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
