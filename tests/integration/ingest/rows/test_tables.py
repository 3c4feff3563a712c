# ruff: noqa: S608 - the SQL of tests
"""Tables of every kind: what is recorded of them, and under which name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import DatabaseError, connection

from bemi_django import bound_context
from bemi_django.schema import tracking
from tests.support.pipeline import LoggedChange, Pipeline
from tests.support.project_database import execute
from tests.support.witness import Witness


def truncation(schema: str, table: str, partition: str | None = None) -> LoggedChange:
    return LoggedChange("TRUNCATE", schema, table, partition, None, None, "{}", "{}")


def after(changes: list[LoggedChange]) -> list[Any]:
    return [json.loads(change.after) for change in changes]


@pytest.fixture
def root(pipeline: Pipeline) -> Witness:
    """A partitioned table with a partition that is partitioned itself, and columns in another order."""
    execute("CREATE TABLE lab.root (day int, id int, a text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)")
    execute("CREATE TABLE lab.low PARTITION OF lab.root FOR VALUES FROM (0) TO (10)")
    execute(
        "CREATE TABLE lab.high PARTITION OF lab.root FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id)"
    )
    execute(
        "CREATE TABLE lab.turned (gone int, a text, id int NOT NULL, day int NOT NULL, PRIMARY KEY (id, day))"
    )
    execute("ALTER TABLE lab.turned DROP gone")
    execute("ALTER TABLE lab.high ATTACH PARTITION lab.turned DEFAULT")
    witness = Witness()
    for table in ("root", "low", "turned"):
        witness.keys[f"lab.{table}"] = ["id", "day"]
    return witness


def test_rows_of_partitions_are_recorded_under_the_root(pipeline: Pipeline, root: Witness) -> None:
    root.insert("lab.low", "1, 100, 'x'", under="lab.root")
    root.update("lab.low", "a = 'y'", under="lab.root")
    root.delete("lab.low", under="lab.root")
    root.insert("lab.turned", "'x', 100, 11", under="lab.root")
    root.update("lab.turned", "a = 'y'", under="lab.root")
    root.delete("lab.turned", under="lab.root")
    through_the_root = Witness()
    through_the_root.keys = root.keys
    for day in (1, 11):
        through_the_root.insert("lab.root", f"{day}, 100, 'x'")
        through_the_root.update("lab.root", "a = 'y'")
        through_the_root.delete("lab.root")
    leaves = ["lab.low"] * 3 + ["lab.turned"] * 3
    expected = [
        change._replace(partition=leaf)
        for change, leaf in zip(through_the_root.expected, leaves, strict=True)
    ]
    assert pipeline.drain() == root.expected + expected


def test_a_row_that_moves_to_another_partition_is_deleted_and_created(
    pipeline: Pipeline, root: Witness
) -> None:
    execute("INSERT INTO lab.root VALUES (1, 100, 'x')")
    pipeline.drain()
    with bound_context(job="move"):
        execute("UPDATE lab.root SET day = 11")
    image = '{"a": "x", "id": 100, "day": %s}'
    assert pipeline.drain() == [
        LoggedChange("DELETE", "lab", "root", "lab.low", "[100, 1]", None, image % 1, "{}"),
        LoggedChange("CREATE", "lab", "root", "lab.turned", "[100, 11]", None, "{}", image % 11),
    ]
    assert [context["job"] for context in pipeline.contexts] == ["move", "move"]


def test_a_new_partition_is_recorded_at_once(pipeline: Pipeline, root: Witness) -> None:
    execute("CREATE TABLE lab.later PARTITION OF lab.root DEFAULT")
    root.keys["lab.later"] = ["id", "day"]
    root.insert("lab.later", "99, 1, 'x'", under="lab.root")
    assert pipeline.drain() == root.expected


def test_a_partition_that_is_detached_beside_others_at_work_is_a_table_of_its_own(
    pipeline: Pipeline, root: Witness
) -> None:
    execute("ALTER TABLE lab.root DETACH PARTITION lab.low CONCURRENTLY")
    root.insert("lab.low", "1, 100, 'x'")
    assert pipeline.drain() == root.expected
    assert tracking.plan() == []


def test_truncate_gives_one_change_a_leaf(pipeline: Pipeline, root: Witness) -> None:
    with bound_context(job="reset"):
        execute("TRUNCATE lab.root")
        execute("TRUNCATE lab.low")
    assert sorted(pipeline.drain()) == sorted(
        [truncation("lab", "root", leaf) for leaf in ("lab.low", "lab.turned", "lab.low")]
    )
    assert [context["job"] for context in pipeline.contexts] == ["reset"] * 3


def test_truncate_gives_one_change_a_table(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.a (id int PRIMARY KEY)")
    execute("CREATE TABLE lab.b (id int PRIMARY KEY, a int REFERENCES lab.a)")
    execute("CREATE TABLE lab.c (b int REFERENCES lab.b)")
    execute("CREATE TABLE lab.d ()")
    with bound_context(job="reset"):
        execute("TRUNCATE lab.a, lab.d CASCADE")
    assert sorted(pipeline.drain()) == [truncation("lab", table) for table in "abcd"]
    assert [context["job"] for context in pipeline.contexts] == ["reset"] * 4


def test_parents_and_children_are_tables_of_their_own(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.parent (id int PRIMARY KEY, a text)")
    execute("CREATE TABLE lab.child (own int, PRIMARY KEY (own)) INHERITS (lab.parent)")
    witness = Witness()
    witness.keys = {"lab.parent": ["id"], "lab.child": ["own"]}
    witness.insert("lab.parent", "1, 'x'")
    witness.insert("lab.child", "1, 'x', 2")
    assert pipeline.drain() == witness.expected
    with bound_context(job="both"):
        execute("UPDATE lab.parent SET a = 'y'")
        execute("DELETE FROM lab.parent")
        execute("TRUNCATE lab.parent")
    assert [(change.operation, change.table, change.key) for change in pipeline.drain()] == [
        ("UPDATE", "parent", "1"),
        ("UPDATE", "child", "2"),
        ("DELETE", "parent", "1"),
        ("DELETE", "child", "2"),
        ("TRUNCATE", "parent", None),
        ("TRUNCATE", "child", None),
    ]
    assert [context["job"] for context in pipeline.contexts] == ["both"] * 6


def test_unlogged_and_temporary_tables_are_not_recorded(pipeline: Pipeline) -> None:
    execute("CREATE UNLOGGED TABLE lab.fast (id int PRIMARY KEY)")
    execute("CREATE TEMP TABLE scratch (id int PRIMARY KEY)")
    execute("CREATE TABLE lab.root (id int) PARTITION BY RANGE (id)")
    execute("CREATE UNLOGGED TABLE lab.leaf PARTITION OF lab.root DEFAULT")
    for table in ("lab.fast", "scratch", "lab.leaf"):
        execute(f"INSERT INTO {table} VALUES (1)")
        execute(f"UPDATE {table} SET id = 2")
        execute(f"TRUNCATE {table}")
    assert pipeline.drain() == []
    named = {step.name: step.what for step in tracking.plan() if not step.statement}
    assert named == {"lab.fast": "unlogged", "lab.leaf": "unlogged"}


def test_a_table_that_becomes_logged_is_recorded_from_then_on(pipeline: Pipeline) -> None:
    execute("CREATE UNLOGGED TABLE lab.t (id int PRIMARY KEY)")
    execute("INSERT INTO lab.t VALUES (1)")
    execute("ALTER TABLE lab.t SET LOGGED")
    execute("UPDATE lab.t SET id = 2")
    assert pipeline.drain() == [LoggedChange("UPDATE", "lab", "t", None, "2", "1", '{"id": 1}', '{"id": 2}')]


def test_a_recorded_table_cannot_become_unlogged(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY)")
    with pytest.raises(DatabaseError, match="publication"):
        execute("ALTER TABLE lab.t SET UNLOGGED")


def test_a_child_is_recorded_although_its_parent_is_not_but_knows_no_context(pipeline: Pipeline) -> None:
    execute("CREATE SCHEMA attic")
    execute("CREATE TABLE attic.parent (id int)")
    execute("CREATE TABLE lab.child () INHERITS (attic.parent)")
    try:
        with bound_context(job="child"):
            execute("INSERT INTO lab.child VALUES (1)")
            execute("UPDATE attic.parent SET id = 2")
        assert [change.operation for change in pipeline.drain()] == ["CREATE", "UPDATE"]
        assert pipeline.contexts[0]["job"] == "child" and pipeline.contexts[1] == {}
    finally:
        execute("DROP SCHEMA attic CASCADE")


def test_rows_of_create_table_as_come_before_the_table_is_recorded(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t AS SELECT 1 AS id")
    execute("UPDATE lab.t SET id = 2")
    assert pipeline.drain() == [
        LoggedChange("UPDATE", "lab", "t", None, None, None, '{"id": 1}', '{"id": 2}')
    ]


def test_a_table_that_can_no_longer_be_recorded_still_takes_writes(pipeline: Pipeline) -> None:
    if connection.pg_version < 180000:  # type: ignore[attr-defined]
        pytest.skip("virtual columns came with PostgreSQL 18")
    execute("CREATE TABLE lab.t (id int)")
    execute("CREATE TABLE lab.late (id int PRIMARY KEY DEFERRABLE, b int GENERATED ALWAYS AS (id * 2))")
    execute("ALTER TABLE lab.t ADD b int GENERATED ALWAYS AS (id * 2)")
    for table in ("lab.t", "lab.late"):
        execute(f"INSERT INTO {table} VALUES (1)")
        execute(f"UPDATE {table} SET id = 2")
        execute(f"DELETE FROM {table}")
    assert pipeline.drain() == []
    assert {step.name for step in tracking.plan() if not step.statement} == {"lab.t", "lab.late"}
    assert tracking.sync().done == []


def test_a_name_may_be_used_in_several_schemas(pipeline: Pipeline) -> None:
    execute("CREATE SCHEMA lab_2")
    execute("CREATE SCHEMA lab_3")
    witness = Witness()
    for schema, columns in (
        ("lab", "id int PRIMARY KEY"),
        ("lab_2", "a text, id int PRIMARY KEY"),
        ("lab_3", "id int"),
    ):
        execute(f"CREATE TABLE {schema}.t ({columns})")
        witness.keys[f"{schema}.t"] = [] if schema == "lab_3" else ["id"]
    execute("SET search_path = lab_3, lab_2, lab")
    witness.insert("lab.t", "1")
    witness.insert("lab_2.t", "'x', 1")
    witness.insert("lab_3.t", "1")
    witness.update("lab_2.t", "id = 2")
    execute("RESET search_path")
    assert pipeline.drain() == witness.expected


@pytest.mark.parametrize(
    "name",
    [
        "dash-ed",
        "Upper Case",
        'quo"ted',
        "apo'strophe",
        "per%cent %s",
        "back\\slash",
        "été 😀",
        "select",
        "new\nline",
        "dot.ted",
        "é" * 31 + "x",
        "$1",
    ],
)
def test_identifiers_are_kept(pipeline: Pipeline, name: str) -> None:
    schema = ("lab " + name).encode()[:63].decode(errors="ignore")
    quoted = ['"' + part.replace('"', '""') + '"' for part in (schema, name, name)]
    table = ".".join(quoted[:2])
    execute(f"CREATE SCHEMA {quoted[0]}")
    execute(
        f"CREATE TABLE {table} ({quoted[2]} int PRIMARY KEY, "
        f"made int GENERATED ALWAYS AS ({quoted[2]} * 2) STORED)"
    )
    with bound_context(job="odd"):
        execute(f"INSERT INTO {table} VALUES (1)")
        execute(f"TRUNCATE {table}")
    created, truncated = pipeline.drain()
    assert (created.schema, created.table, created.key) == (schema, name, "1")
    assert json.loads(created.after) == {name: 1, "made": 2}
    assert truncated == truncation(schema, name)
    assert [context["job"] for context in pipeline.contexts] == ["odd", "odd"]
    assert tracking.sync().done == []
