"""Changes are counted by hour and by who made them where, and the counts always agree with the log."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import datetime, timezone
from typing import Any

import pytest

from bemi_django import bound_context
from bemi_django.ingest.destination import activity_counts
from bemi_django.wire import EVENT_PREFIX
from tests.support.activity import counted, recount, to_count
from tests.support.pipeline import Pipeline
from tests.support.project_database import another_session, execute

USERS: tuple[Any, ...] = (7, 8, "7", "ann", None, True, "", 10**30, 1.5, "ünï")
ENDPOINTS = (
    "/shop/",
    "/orders/12/",
    "/orders/13/lines/7",
    "/things/0b5e0c22-9a5b-4c6e-8f4a-0f3f6a3c1d2e/",
    "",
)
STATEMENTS = (
    "INSERT INTO lab.{table} (note) SELECT 'n' FROM generate_series(1, {most})",
    "UPDATE lab.{table} SET note = note || '!' WHERE id % 3 = {part}",
    "DELETE FROM lab.{table} WHERE id % 7 = {part}",
    "TRUNCATE lab.one, lab.two",
)


def random_context(draw: random.Random) -> dict[str, Any]:
    whole = {
        "user_id": draw.choice(USERS[:5]), "endpoint": draw.choice(ENDPOINTS),
        "method": draw.choice(["POST", "PUT"]), "task": draw.choice(["nightly", ""]),
        "command": "import", "tenant": "acme", "request_id": str(draw.random()), "route": "/by/<pk>/",
    }  # fmt: skip
    return {key: whole[key] for key in draw.sample(sorted(whole), draw.randint(0, 5))}


def write(context: dict[str, Any] | None, statement: str) -> None:
    if context is None:
        with another_session() as cursor:
            cursor.execute(statement)
            cursor.connection.commit()
        return
    with bound_context(**context):
        execute(statement)


def test_random_writes_are_counted_as_the_log_has_them(pipeline: Pipeline) -> None:
    draw = random.Random(20)
    for name in ("one", "two"):
        execute(f"CREATE TABLE lab.{name} (id serial PRIMARY KEY, note text)")
    pipeline.drain()
    for number in range(60):
        table = draw.choice(["one", "two"])
        context = None if number % 9 == 0 else random_context(draw)
        statement = draw.choice(STATEMENTS)
        write(context, statement.format(table=table, most=draw.randint(1, 9), part=number % 3))
        if number % 20 == 0:
            pipeline.drain()
    pipeline.drain()
    expected = to_count()
    assert counted() == expected
    assert {kind for kind, *_ in expected} >= {"operation", "user", "endpoint", "task", "command", "outside"}
    # What is counted anew is the same.
    recount()
    assert counted() == expected


def test_a_table_that_gets_another_name_is_counted_under_the_one_of_its_rows(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.one (id serial PRIMARY KEY)")
    pipeline.drain()
    for name in ("one", "two"):
        write({"user_id": 7}, f"INSERT INTO lab.{name} DEFAULT VALUES")
        execute(f"ALTER TABLE lab.{name} RENAME TO {'two' if name == 'one' else 'three'}")
    pipeline.drain()
    assert counted() == to_count()
    assert {name for kind, *_, name, _ in counted() if kind == "table"} == {"one", "two"}


def test_values_that_json_has_in_other_ways_are_counted_alike_by_worker_and_recount(
    pipeline: Pipeline,
) -> None:
    execute("CREATE TABLE lab.one (id serial PRIMARY KEY)")
    pipeline.drain()
    deep: Any = {}
    for _ in range(30):
        deep = {"a": deep}
    for user in (*USERS, {"a": None}, [1, 2.0]):
        write({"user_id": user, "other": deep}, "INSERT INTO lab.one DEFAULT VALUES")
    pipeline.drain()
    found = counted()
    assert {name for kind, _, _, _, name, _ in found if kind == "user"} >= {"7", "true", str(10**30), "1.5"}
    recount()
    assert counted() == found


def test_a_row_that_is_refused_is_counted_as_it_was_stored(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.doc (id int PRIMARY KEY, body json)")
    pipeline.drain()
    write(
        {"user_id": 7},
        r"""INSERT INTO lab.doc SELECT n, CASE WHEN n = 5 THEN '{"a": "\u0000"}' ELSE '{}' END::json
            FROM generate_series(1, 9) n""",
    )
    write({"user_id": 8, "x": 1}, "DELETE FROM lab.doc WHERE id = 5")
    pipeline.drain()
    assert execute("SELECT count(*) FROM changes") == [(10,)]
    assert counted() == to_count()


def test_a_transaction_in_parts_that_is_interrupted_is_counted_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute("CREATE TABLE lab.one (id serial PRIMARY KEY, note text)")
    pipeline.drain()
    write({"user_id": 7}, "INSERT INTO lab.one (note) SELECT repeat('x', 900) FROM generate_series(1, 6000)")
    written = activity_counts.ActivityCounts.write
    calls: list[int] = []

    def failing(self: Any, cursor: Any) -> None:
        written(self, cursor)
        calls.append(1)
        if len(calls) == 2:
            # After the second part, in the middle of the transaction.
            cursor.connection.close()

    monkeypatch.setattr(activity_counts.ActivityCounts, "write", failing)
    pipeline.stop()
    pipeline.run()
    assert len(calls) > 3
    assert counted() == to_count()
    assert (
        sum(changes for (kind, unit, *_), changes in counted().items() if (kind, unit) == ("user", "month"))
        == 6000
    )


def test_what_has_too_many_names_is_counted_together(pipeline: Pipeline) -> None:
    entries = [
        {
            "hour": 0, "database": "d", "schema": "lab", "kind": kind, "name": str(number), "detail": "",
            "changes": 1 + (number == 299),
        }
        for number in range(300) for kind in ("user", "endpoint")
    ]  # fmt: skip
    entries.append({**entries[0], "kind": "table", "name": "t", "changes": 301})
    for _ in range(2):
        execute("SELECT _bemi.add_activity_v1(%s)", [json.dumps(entries)])
    found = counted()
    hour = datetime(2000, 1, 1, tzinfo=timezone.utc)
    for kind in ("user", "endpoint"):
        names = Counter({name: n for (k, d, _, _, name, _), n in found.items() if (k, d) == (kind, "hour")})
        assert len(names) == 201 and sum(names.values()) == 602
        # Those that have most have a row of their own.
        assert names["299"] == 4 and names[""] == 200
    assert found[("table", "hour", hour, "lab", "t", "")] == 602
    # They go with the changes that are removed, also those that were counted together.
    for entry in entries:
        entry["changes"] = -2 * entry["changes"]
    execute("SELECT _bemi.add_activity_v1(%s)", [json.dumps(entries)])
    assert set(counted().values()) == {0}


def test_events_of_tables_that_nobody_has_are_counted_together(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.one (id serial PRIMARY KEY)")
    pipeline.drain()
    write({"user_id": 7}, "INSERT INTO lab.one DEFAULT VALUES")
    invented = [{"event": "viewed", "schema": f"s{n}", "table": f"t{n}", "key": "1"} for n in range(300)]
    known = {"event": "viewed", "schema": "lab", "table": "one", "key": "1"}
    for event in (*invented, known, {"event": "logged in"}):
        content = json.dumps({**event, "context": {"user_id": 8}})
        execute("SELECT pg_logical_emit_message(true, %s, %s)", [EVENT_PREFIX, content])
    pipeline.drain()
    found = counted()
    assert execute("SELECT count(DISTINCT schema) FROM changes") == [(302,)]
    assert {schema for _kind, _unit, _moment, schema, *_ in found} == {"", "lab"}
    by_month = {
        (kind, schema, name): changes
        for (kind, unit, _, schema, name, _), changes in found.items()
        if unit == "month"
    }
    assert by_month[("table", "", "")] == by_month[("user", "", "8")] == 301
    assert by_month[("table", "lab", "one")] == 2
    assert by_month[("operation", "lab", "EVENT")] == by_month[("user", "lab", "8")] == 1
    recount()
    assert counted() == found
    # They can be taken away again.
    execute("SELECT _bemi.count_changes_v1(ARRAY(SELECT id FROM changes), true)")
    assert counted() == {}


def emit_viewed(table: str, count: int = 1) -> None:
    event = {"event": "viewed", "schema": "lab", "table": table, "key": "1", "context": {"user_id": 8}}
    for _ in range(count):
        execute("SELECT pg_logical_emit_message(true, %s, %s)", [EVENT_PREFIX, json.dumps(event)])


def remove(condition: str, most: int) -> None:
    found = execute(f"SELECT id::text FROM changes WHERE {condition}")  # noqa: S608
    ids = [one for (one,) in found[:most]]
    assert len(ids) == most
    execute("SELECT _bemi.count_changes_v1(%s::text[]::uuid[], true)", [ids])
    execute("DELETE FROM changes WHERE id = ANY (%s::text[]::uuid[])", [ids])


def test_an_event_that_came_before_its_table_is_taken_away_where_it_was_counted(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.one (id serial PRIMARY KEY)")
    pipeline.drain()
    emit_viewed("later")
    pipeline.drain()
    execute("CREATE TABLE lab.later (id serial PRIMARY KEY)")
    write({"user_id": 8}, "INSERT INTO lab.later DEFAULT VALUES")
    pipeline.drain()
    remove("operation = 'EVENT'", 1)
    assert counted() == to_count()
    # Nor is one counted elsewhere whose table has gone since.
    emit_viewed("later")
    pipeline.drain()
    execute("DROP TABLE lab.later")
    execute("DELETE FROM _bemi.activity WHERE kind = 'table' AND unit = 'month'")
    remove("operation = 'EVENT'", 1)
    found = {key: changes for key, changes in counted().items() if key[:2] != ("table", "month")}
    assert found == {key: n for key, n in to_count().items() if key[:2] != ("table", "month")}


@pytest.mark.parametrize("order", ["operation = 'EVENT'", "operation <> 'EVENT'", "true"])
def test_no_count_is_ever_below_zero(pipeline: Pipeline, order: str) -> None:
    execute("CREATE TABLE lab.one (id serial PRIMARY KEY)")
    pipeline.drain()
    emit_viewed("later", 3)
    pipeline.drain()
    execute("CREATE TABLE lab.later (id serial PRIMARY KEY)")
    write({"user_id": 8}, "INSERT INTO lab.later SELECT generate_series(1, 5)")
    emit_viewed("later", 2)
    pipeline.drain()
    for step in [order] * (10 if order == "true" else 2):
        remove(step, 1)
        by_kind = Counter[tuple[str, str]]()
        for (kind, unit, *_), changes in counted().items():
            assert changes > 0
            by_kind[(kind, unit)] += changes
        left = execute("SELECT count(*) FROM changes")[0][0]
        assert {by_kind[(kind, "hour")] for kind in ("operation", "table", "user")} == {left}
    if left:
        remove("true", left)
    assert counted() == {}


def test_counts_that_are_refused_do_not_stop_the_log(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    execute("CREATE TABLE lab.one (id serial PRIMARY KEY)")
    pipeline.drain()
    execute("ALTER TABLE _bemi.activity ADD CONSTRAINT refused CHECK (name <> 'secret')")
    try:
        write({"user_id": "secret"}, "INSERT INTO lab.one DEFAULT VALUES")
        pipeline.drain()
    finally:
        execute("ALTER TABLE _bemi.activity DROP CONSTRAINT refused")
    write({"user_id": 8}, "INSERT INTO lab.one DEFAULT VALUES")
    pipeline.drain()
    assert execute("SELECT count(*) FROM changes") == [(2,)]
    # What came later is counted, and the warning says how the rest is.
    assert {name for kind, _, _, _, name, _ in counted() if kind == "user"} == {"8"}
    (warning,) = [record.getMessage() for record in caplog.records if "not counted" in record.getMessage()]
    assert "SQLSTATE 23514" in warning and "secret" not in warning
    # Whatever zone the session has.
    for zone in ("Europe/Berlin", "America/New_York"):
        execute("DELETE FROM _bemi.activity")
        with another_session() as cursor:
            cursor.execute("SELECT set_config('TimeZone', %s, false)", [zone])
            cursor.execute(warning.partition("run ")[2])
            cursor.connection.commit()
        assert counted() == to_count()
