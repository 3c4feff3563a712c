"""What is stored is what ``to_jsonb(row)`` gave, type by type."""

from __future__ import annotations

import pytest
from django.db import connection

from bemi_django import tracking
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
