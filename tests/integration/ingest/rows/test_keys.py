"""``primary_key`` and ``previous_primary_key``: the key as it was, whatever its name, type and columns."""

from __future__ import annotations

import pytest
from django.db import connection

from bemi_django import models
from tests.support.pipeline import LoggedChange, Pipeline
from tests.support.project_database import execute
from tests.support.witness import Witness

TYPES = {
    "uuid": ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'00000000-0000-0000-0000-000000000000'"),
    "text": ("'a \"b\" \\ [1, 2] é'", "''"),
    "varchar(3)": ("'abc'", "'ab '"),
    "char(3)": ("'a'", "'b'"),
    "bigint": ("9007199254740993", "-1"),
    "numeric": ("1.10", "'NaN'"),
    "float8": ("0.1", "'-Infinity'"),
    "bool": ("true", "false"),
    "date": ("'2026-01-02'", "'0044-03-15 BC'"),
    "timestamp": ("'2026-01-02 03:04:05.6'", "'infinity'"),
    "timestamptz": ("'2026-01-02 03:04:05.6+07'", "'infinity'"),
    "interval": ("'1 day 02:00:00'", "'-1 mon'"),
    "bytea": (r"'\x00ff'", r"'\x'"),
    "inet": ("'10.0.0.1/8'", "'::1'"),
    "int[]": ("'{1,NULL}'", "'{}'"),
    "jsonb": ("""'{"a": [1.0]}'""", "'1'"),
    "int4range": ("'[1,5)'", "'empty'"),
    "lab.mood": ("'sad'", "'very \"glad\"'"),
    "lab.positive": ("7", "8"),
    "lab.pair": ("'(1,\"x y\")'", "'(2,)'"),
}


@pytest.mark.parametrize("name", ["id", 'Kéy with "quotes", 100 % and \'', "select"])
def test_a_key_has_any_name(pipeline: Pipeline, name: str) -> None:
    witness = Witness()
    column = connection.ops.quote_name(name).replace('"', '""')[1:-1] if '"' in name else f'"{name}"'
    execute(f"CREATE TABLE lab.t (a int, {column} int PRIMARY KEY)")
    witness.keys["lab.t"] = [column]
    witness.insert("lab.t", "1, 2")
    witness.update("lab.t", "a = 3")
    witness.delete("lab.t")
    assert pipeline.drain() == witness.expected


def test_a_key_has_any_type(pipeline: Pipeline) -> None:
    execute("CREATE TYPE lab.mood AS ENUM ('sad', 'very \"glad\"')")
    execute("CREATE DOMAIN lab.positive AS int CHECK (value > 0)")
    execute("CREATE TYPE lab.pair AS (a int, b text)")
    witness = Witness()
    for number, (type_, (one, two)) in enumerate(TYPES.items()):
        table = f"lab.t{number}"
        execute(f"CREATE TABLE {table} (id {type_} PRIMARY KEY)")
        witness.keys[table] = ["id"]
        witness.insert(table, one)
        witness.update(table, f"id = {two}")
        witness.delete(table)
    assert pipeline.drain() == witness.expected


def test_a_key_of_several_columns_is_an_array_in_the_order_of_the_key(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (a int, b timestamptz, c text, d bool, e numeric, PRIMARY KEY (e, c, b, d))")
    witness = Witness()
    witness.keys["lab.t"] = ["e", "c", "b", "d"]
    witness.insert("lab.t", """1, '2026-01-02 03:04:05+07', 'x "y"', true, 1.50""")
    witness.update("lab.t", "c = 'z'")
    changes = pipeline.drain()
    assert changes == witness.expected
    assert changes[1].previous_key == '[1.50, "x \\"y\\"", "2026-01-01T20:04:05+00:00", true]'


def test_parts_of_a_key_are_printed_as_jsonb_prints_them(pipeline: Pipeline) -> None:
    execute("CREATE TYPE lab.pair AS (longer int, b text)")
    execute(
        "CREATE TABLE lab.t (a int[], b lab.pair, c float8, d jsonb, e bigint, PRIMARY KEY (d, c, b, a, e))"
    )
    witness = Witness()
    witness.keys["lab.t"] = ["d", "c", "b", "a", "e"]
    witness.insert("lab.t", """'{1,NULL}', '(1,"x ""\t")', 1e300, '{"b":1.0,"a":[]}', 9007199254740993""")
    witness.update("lab.t", "c = 1.5e-7")
    witness.update("lab.t", "c = '-0'")
    witness.update("lab.t", "c = 'NaN', a = '{}'")
    assert pipeline.drain() == witness.expected


def test_what_an_index_includes_is_no_part_of_the_key(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (a int, b int, c int, PRIMARY KEY (c) INCLUDE (a, b))")
    witness = Witness()
    witness.keys["lab.t"] = ["c"]
    witness.insert("lab.t", "1, 2, 3")
    witness.update("lab.t", "a = 7")
    assert pipeline.drain() == witness.expected


@pytest.mark.parametrize("constraint", ["", ", UNIQUE (a)", ", EXCLUDE (a WITH =)"])
def test_a_table_without_a_primary_key_has_none(pipeline: Pipeline, constraint: str) -> None:
    execute(f"CREATE TABLE lab.t (a int NOT NULL, b text{constraint})")
    witness = Witness()
    witness.insert("lab.t", "1, 'x'")
    witness.update("lab.t", "a = 2")
    witness.delete("lab.t")
    assert pipeline.drain() == witness.expected


def test_a_key_that_is_computed_is_known(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (a int, id text GENERATED ALWAYS AS ('n' || a::text) STORED PRIMARY KEY)")
    witness = Witness()
    witness.keys["lab.t"] = ["id"]
    witness.insert("lab.t", "1")
    witness.update("lab.t", "a = 2")
    assert pipeline.drain() == witness.expected
    assert witness.expected[-1].previous_key == "n1"


def test_a_changed_key_is_found_under_both(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY)")
    execute("INSERT INTO lab.t VALUES (1)")
    execute("UPDATE lab.t SET id = 2")
    pipeline.drain()
    changes = models.Change.objects.filter(schema="lab")
    assert [change.operation for change in changes.filter(primary_key="2")] == ["UPDATE"]
    assert [change.operation for change in changes.filter(previous_primary_key="1")] == ["UPDATE"]
    assert [change.operation for change in changes.filter(primary_key="1")] == ["CREATE"]


def test_a_part_of_a_key_that_changes_is_found_under_both(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (a int, b int, PRIMARY KEY (b, a))")
    execute("INSERT INTO lab.t VALUES (1, 2)")
    execute("UPDATE lab.t SET a = 3")
    changes = pipeline.drain()
    assert [(change.key, change.previous_key) for change in changes] == [
        ("[2, 1]", None),
        ("[2, 3]", "[2, 1]"),
    ]


def test_a_key_that_is_checked_late_is_a_key(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a int)")
    execute("INSERT INTO lab.t VALUES (1, 1), (2, 2)")
    execute("UPDATE lab.t SET id = 3 - id")
    changes = pipeline.drain()
    assert [(change.key, change.previous_key) for change in changes] == [
        ("1", None), ("2", None), ("2", "1"), ("1", "2"),
    ]  # fmt: skip


def test_a_statement_that_changes_every_key_leaves_each_row_traceable(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY)")
    execute("INSERT INTO lab.t SELECT generate_series(1, 50)")
    execute("UPDATE lab.t SET id = -id")
    updates = [change for change in pipeline.drain() if change.operation == "UPDATE"]
    assert {(change.previous_key, change.key) for change in updates} == {
        (str(number), str(-number)) for number in range(1, 51)
    }


def test_a_key_is_known_where_the_server_sends_nothing_else_of_the_old_row(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (a int, b int, c int, PRIMARY KEY (c, a))")
    execute("ALTER TABLE lab.t REPLICA IDENTITY DEFAULT")
    execute("INSERT INTO lab.t VALUES (1, 2, 3)")
    execute("UPDATE lab.t SET c = 4")
    execute("DELETE FROM lab.t")
    keys = [(change.key, change.previous_key) for change in pipeline.drain()]
    assert keys == [("[3, 1]", None), ("[4, 1]", "[3, 1]"), ("[4, 1]", None)]


def test_a_key_that_the_identity_leaves_out_is_not_made_up(pipeline: Pipeline) -> None:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, code int NOT NULL UNIQUE)")
    execute("ALTER TABLE lab.t REPLICA IDENTITY USING INDEX t_code_key")
    execute("INSERT INTO lab.t VALUES (1, 10)")
    execute("UPDATE lab.t SET id = 2")
    execute("DELETE FROM lab.t")
    _, updated, deleted = pipeline.drain()
    assert (updated.key, updated.previous_key) == ("2", None)
    assert deleted == LoggedChange(
        "DELETE", "lab", "t", None, None, None, '{"code": 10}', "{}", {"before": ["id"]}
    )
