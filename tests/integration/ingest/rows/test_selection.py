"""Columns and changes that settings leave out of the log, by every path of a row."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from bemi_django.ingest.selection.condition import Condition
from bemi_django.ingest.selection.rules import Selection
from bemi_django.wire.name_pattern import column_pattern, table_pattern
from tests.support.pipeline import LoggedChange, Pipeline
from tests.support.project_database import execute

OMITTED = 'SELECT "table", reason, changes FROM _bemi.omitted_changes WHERE slot = %s ORDER BY 1, 2'


@pytest.fixture
def selecting(pipeline: Pipeline) -> Iterator[Any]:
    """Give the worker rules; it begins again with each call."""
    everything = pipeline.config

    def select(*ignored: str, unchanged: bool = False, conditions: dict[str, Any] | None = None) -> None:
        pipeline.stop()
        selection = Selection(
            [column_pattern(pattern) for pattern in ignored],
            unchanged,
            [
                (table_pattern(pattern), Condition(pattern, function))
                for pattern, function in (conditions or {}).items()
            ],
        )
        pipeline.config = everything._replace(selection=selection)

    yield select
    pipeline.stop()
    pipeline.config = everything
    execute("DELETE FROM _bemi.omitted_columns")
    execute("DELETE FROM _bemi.omitted_changes")


def rows(changes: list[LoggedChange]) -> list[tuple[str, Any, Any]]:
    return [(change.operation, json.loads(change.before), json.loads(change.after)) for change in changes]


def omitted(pipeline: Pipeline) -> list[Any]:
    return execute(OMITTED, [pipeline.slot])


def test_an_ignored_column_is_not_stored_and_an_update_of_it_is_only_counted(
    pipeline: Pipeline, selecting: Any
) -> None:
    selecting("visit.seen", "lab.visit.n*")
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY, page text, seen timestamptz DEFAULT now(), nnn int)")
    execute("INSERT INTO lab.visit (id, page) VALUES (1, 'a'), (2, 'b')")
    execute("UPDATE lab.visit SET seen = seen + interval '1 day', nnn = 3")
    execute("UPDATE lab.visit SET page = 'c', nnn = 4 WHERE id = 1")
    execute("DELETE FROM lab.visit WHERE id = 2")
    changes = pipeline.drain()
    assert rows(changes) == [
        ("CREATE", {}, {"id": 1, "page": "a"}),
        ("CREATE", {}, {"id": 2, "page": "b"}),
        ("UPDATE", {"id": 1, "page": "a"}, {"id": 1, "page": "c"}),
        ("DELETE", {"id": 2, "page": "b"}, {}),
    ]
    assert all(change.unavailable == {"ignored": ["seen", "nnn"]} for change in changes)
    assert omitted(pipeline) == [("visit", "ignored columns", 2)]


def test_the_key_is_stored_whatever_a_pattern_says(pipeline: Pipeline, selecting: Any) -> None:
    selecting("*.*")
    execute("CREATE TABLE lab.pair (a int, b text, c text, PRIMARY KEY (b, a))")
    execute("INSERT INTO lab.pair VALUES (1, 'x', 'secret')")
    execute("UPDATE lab.pair SET c = 'other'")
    execute("UPDATE lab.pair SET b = 'y'")
    changes = pipeline.drain()
    assert rows(changes) == [
        ("CREATE", {}, {"a": 1, "b": "x"}),
        ("UPDATE", {"a": 1, "b": "x"}, {"a": 1, "b": "y"}),
    ]
    assert [change.key for change in changes] == ['["x", 1]', '["y", 1]']


def test_an_update_that_changes_nothing_is_dropped_if_a_setting_says_so(
    pipeline: Pipeline, selecting: Any
) -> None:
    execute("CREATE TABLE lab.calm (id int PRIMARY KEY, name text, big text)")
    execute("ALTER TABLE lab.calm ALTER big SET STORAGE EXTERNAL")
    execute("INSERT INTO lab.calm VALUES (1, 'a', repeat('x', 10000)), (2, NULL, NULL)")
    pipeline.drain()
    # In a table with ignored columns it is recorded as well: it did not touch them.
    for ignored in ((), ("calm.name",)):
        selecting(*ignored)
        execute("UPDATE lab.calm SET name = name")
        assert [change.operation for change in pipeline.drain()] == ["UPDATE", "UPDATE"]
    selecting(unchanged=True)
    execute("UPDATE lab.calm SET name = name")
    execute("UPDATE lab.calm SET id = id WHERE id = 2")
    execute("UPDATE lab.calm SET name = 'b' WHERE id = 1")
    assert [json.loads(change.after)["name"] for change in pipeline.drain()] == ["b"]
    assert omitted(pipeline) == [("calm", "unchanged", 3)]


def test_what_is_left_out_does_not_depend_on_what_wrote_it(pipeline: Pipeline, selecting: Any) -> None:
    selecting("visit.seen")
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY, page text, seen int)")
    with connection.cursor() as cursor:
        copy = getattr(cursor, "copy", None)
        if copy is None:
            cursor.cursor.copy_expert("COPY lab.visit FROM STDIN", io.StringIO("1\ta\t1\n"))
        else:
            with copy("COPY lab.visit FROM STDIN") as copying:
                copying.write("1\ta\t1\n")
    execute("UPDATE lab.visit SET seen = 2")
    assert rows(pipeline.drain()) == [("CREATE", {}, {"id": 1, "page": "a"})]


@pytest.mark.parametrize("identity", ["NOTHING", "DEFAULT", "FULL"])
def test_what_the_stream_does_not_tell_is_never_taken_for_unchanged(
    pipeline: Pipeline, selecting: Any, identity: str
) -> None:
    selecting("part.seen", unchanged=True)
    execute("CREATE TABLE lab.part (id int PRIMARY KEY, page text, seen int)")
    execute(f"ALTER TABLE lab.part REPLICA IDENTITY {'DEFAULT' if identity == 'NOTHING' else identity}")
    execute("INSERT INTO lab.part VALUES (1, 'a', 1)")
    execute("UPDATE lab.part SET page = 'b'")
    execute("UPDATE lab.part SET seen = 2")
    changes = pipeline.drain()
    assert all("seen" not in {**before, **after} for _, before, after in rows(changes))
    expected = ["CREATE", "UPDATE"] + ["UPDATE"] * (identity != "FULL")
    assert [change.operation for change in changes] == expected


def test_columns_of_partitions_and_generated_columns_are_left_out(pipeline: Pipeline, selecting: Any) -> None:
    selecting("visits.twice", "visits.seen")
    execute(
        "CREATE TABLE lab.visits (id int, day int, n int, seen int, "
        "twice int GENERATED ALWAYS AS (n * 2) STORED, "
        "thrice int GENERATED ALWAYS AS (n * 3) STORED, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)"
    )
    execute("CREATE TABLE lab.first PARTITION OF lab.visits FOR VALUES FROM (0) TO (10)")
    execute("INSERT INTO lab.visits (id, day, n, seen) VALUES (1, 1, 5, 1)")
    execute("UPDATE lab.visits SET seen = 2")
    execute("UPDATE lab.visits SET n = 6")
    changes = pipeline.drain()
    assert rows(changes) == [
        ("CREATE", {}, {"id": 1, "day": 1, "n": 5, "thrice": 15}),
        (
            "UPDATE",
            {"id": 1, "day": 1, "n": 5, "thrice": 15},
            {"id": 1, "day": 1, "n": 6, "thrice": 18},
        ),
    ]
    assert omitted(pipeline) == [("visits", "ignored columns", 1)]


def test_a_column_that_is_renamed_dropped_or_added_is_judged_by_its_name(
    pipeline: Pipeline, selecting: Any
) -> None:
    selecting("seen.at")
    execute("CREATE TABLE lab.seen (id int PRIMARY KEY, at int)")
    execute("INSERT INTO lab.seen VALUES (1, 1)")
    execute("ALTER TABLE lab.seen RENAME at TO moment")
    execute("UPDATE lab.seen SET moment = 2")
    execute("ALTER TABLE lab.seen ADD at int")
    execute("UPDATE lab.seen SET at = 7")
    execute("ALTER TABLE lab.seen DROP at")
    execute("UPDATE lab.seen SET moment = 3")
    assert rows(pipeline.drain()) == [
        ("CREATE", {}, {"id": 1}),
        ("UPDATE", {"id": 1, "moment": 1}, {"id": 1, "moment": 2}),
        ("UPDATE", {"id": 1, "moment": 2}, {"id": 1, "moment": 3}),
    ]


def test_a_condition_is_asked_with_the_rows_and_leaves_changes_out(
    pipeline: Pipeline, selecting: Any
) -> None:
    asked = []

    def is_real(table: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
        asked.append((table, before, after))
        return bool((after or before)["page"] != "bot")

    selecting("visit.seen", conditions={"lab.visit": is_real})
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY, page text, seen int)")
    execute("CREATE TABLE lab.other (id int PRIMARY KEY, page text)")
    execute("INSERT INTO lab.visit VALUES (1, 'bot', 1), (2, 'home', 1)")
    execute("INSERT INTO lab.other VALUES (1, 'bot')")
    execute("UPDATE lab.visit SET seen = 2")
    execute("DELETE FROM lab.visit")
    assert [(change.table, change.key) for change in pipeline.drain()] == [
        ("visit", "2"),
        ("other", "1"),
        ("visit", "2"),
    ]
    assert asked[0] == ("lab.visit", {}, {"id": 1, "page": "bot"})
    assert len(asked) == 4
    assert omitted(pipeline) == [("visit", "condition", 2), ("visit", "ignored columns", 2)]


@pytest.mark.parametrize(
    "error", [ValueError("row-value"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]
)
def test_a_condition_that_fails_loses_no_change_and_is_reported(
    pipeline: Pipeline, selecting: Any, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> bool:
        raise error

    selecting(conditions={"visit": fail})
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY)")
    execute("INSERT INTO lab.visit VALUES (1), (2)")
    assert [change.key for change in pipeline.drain()] == ["1", "2"]
    assert pipeline.counters()["conditions that failed: the changes were recorded"] == 2
    (record,) = [record for record in caplog.records if "condition" in record.getMessage()]
    assert type(error).__name__ in record.getMessage() and "row-value" not in record.getMessage()


def test_what_was_counted_survives_the_worker_and_is_counted_once(pipeline: Pipeline, selecting: Any) -> None:
    execute("CREATE TABLE lab.visit (id int PRIMARY KEY, seen int)")
    execute("INSERT INTO lab.visit VALUES (1, 1)")
    for number in range(3):
        selecting("visit.seen")
        execute("UPDATE lab.visit SET seen = seen + 1")
        pipeline.drain()
        assert omitted(pipeline) == [("visit", "ignored columns", number + 1)]
