"""Whatever a writer sends as a context or as a key, the worker records the row and goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest
from django.db import connection, transaction

from bemi_django import bound_context
from bemi_django.models import DeadLetter
from tests.support.hostile import hostile_context
from tests.support.pipeline import Drain
from tests.support.project_database import execute

#: Ten thousand in the long runs.
CONTEXTS = 10 * int(os.environ.get("BEMI_ATTACKS", "300"))


@pytest.fixture
def table(drain: Drain) -> Iterator[Drain]:
    execute("CREATE TABLE hostile (id int PRIMARY KEY)")
    drain()
    yield drain
    execute("DROP TABLE hostile")


def test_any_context_that_a_writer_can_send_is_recorded_or_kept_as_text(table: Drain) -> None:
    random = Random(7)
    contents = [hostile_context(random).hex() for _ in range(CONTEXTS)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE sent (id int, content bytea) ON COMMIT DROP")
        cursor.execute(
            "INSERT INTO sent SELECT n, decode(c, 'hex') FROM unnest(%s::text[]) WITH ORDINALITY u (c, n)",
            [contents],
        )
        cursor.execute("""
            DO $$
            DECLARE one record;
            BEGIN
                FOR one IN SELECT * FROM sent ORDER BY id LOOP
                    PERFORM pg_logical_emit_message(true, '_bemi', one.content);
                    INSERT INTO hostile VALUES (one.id);
                END LOOP;
            END $$
        """)
    changes = [change for change in table() if change.table == "hostile"]
    counted = sum(sum(change.context["rows"].values()) for change in changes if change.operation == "SKIPPED")
    recorded = [change for change in changes if change.operation == "CREATE"]
    assert counted > 0 and len(recorded) + counted == CONTEXTS
    assert all(isinstance(change.context, dict) for change in changes)
    assert any("_bemi_invalid" in change.context for change in recorded)
    with bound_context(user_id=7):
        execute("DELETE FROM hostile WHERE id = 1")
    (change,) = table()
    assert change.context["user_id"] == 7


def test_a_context_nested_beyond_all_limits_is_kept_as_text(table: Drain) -> None:
    content = '{"_bemi_skip":true,"a":' + "[" * 1_010 + "]" * 1_010 + "}"
    execute(f"""
        DO $$ BEGIN
            INSERT INTO hostile VALUES (1);
            PERFORM pg_logical_emit_message(true, '_bemi', '{content}');
            INSERT INTO hostile VALUES (2);
        END $$
    """)  # noqa: S608 - a constant
    first, second = table()
    assert "_bemi_invalid" not in first.context
    assert second.context["_bemi_invalid"].startswith('{"_bemi_skip":true,"a":[[')
    (letter,) = DeadLetter.objects.all()
    assert letter.change_id is None and content.encode()[:-1] in bytes(letter.message)


@pytest.mark.parametrize(
    ("type_", "value", "printed"),
    [
        pytest.param("numeric", "('1' || repeat('0', 5000))::numeric", "1" + "0" * 5_000, id="numeric"),
        pytest.param("numeric", "'1e-16000'::numeric", "0." + "0" * 15_999 + "1", id="fraction"),
        pytest.param(
            "numeric[]", "ARRAY[('1' || repeat('0', 5000))::numeric]", f"[1{'0' * 5_000}]", id="array"
        ),
        pytest.param(
            "jsonb",
            "(repeat('[', 300) || repeat(']', 300))::jsonb",
            "[" * 300 + "]" * 300,
            id="nested jsonb",
        ),
        pytest.param("float8", "'1e-300'::float8", "0." + "0" * 299 + "1", id="float"),
        pytest.param(
            "timestamptz",
            "'294276-12-31 23:59:59.999999Z'",
            '"294276-12-31T23:59:59.999999+00:00"',
            id="date",
        ),
    ],
)
def test_a_composite_key_may_hold_any_value(table: Drain, type_: str, value: str, printed: str) -> None:
    execute(f"CREATE TABLE composite (a {type_}, b int, PRIMARY KEY (a, b))")
    try:
        execute(f"INSERT INTO composite VALUES ({value}, 1)")  # noqa: S608 - a constant
        execute("UPDATE composite SET b = 2")
        expected = f"[{printed}, 1]", f"[{printed}, 2]"
        assert [change.primary_key for change in table() if change.table == "composite"] == list(expected)
        with connection.cursor() as cursor:
            cursor.execute("SELECT jsonb_build_array(a, b)::text FROM composite")
            assert cursor.fetchone() == (expected[1],)
    finally:
        execute("DROP TABLE composite")
