# ruff: noqa: S608 - the SQL of tests
"""Statements and transactions of every kind: each row they write is recorded once, in commit order."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest
from django.db import connection, transaction

from bemi_django import bound_context, conf
from tests.support.pipeline import LoggedChange, Pipeline
from tests.support.project_database import execute


@contextmanager
def session() -> Iterator[Any]:
    """A connection of psycopg2, without Django and without our hook."""
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as opened:
        yield opened


def brief(changes: list[LoggedChange]) -> list[tuple[str, str, str | None]]:
    return [(change.operation, change.table, change.key) for change in changes]


@pytest.fixture
def tables(pipeline: Pipeline) -> Pipeline:
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, a int)")
    execute("CREATE TABLE lab.u (id int PRIMARY KEY, a int)")
    execute("INSERT INTO lab.t VALUES (1, 1), (2, 2)")
    pipeline.drain()
    return pipeline


def test_copy_of_a_hundred_thousand_rows_gives_as_many_changes(tables: Pipeline) -> None:
    lines = io.StringIO("".join(f"{number}\t{number % 7}\n" for number in range(10, 100_010)))
    with session() as opened, opened.cursor() as cursor:
        cursor.copy_expert("COPY lab.t FROM STDIN", lines)
        opened.commit()
    tables.advance()
    ((count, keys, ordered, contexts),) = execute(
        "SELECT count(*), count(DISTINCT primary_key), bool_and(key = place), count(DISTINCT context) FROM ("
        "SELECT primary_key, primary_key::int AS key, 9 + row_number() OVER (ORDER BY id) AS place, context "
        "FROM changes WHERE context ->> 'SQL' LIKE 'COPY%') copied"
    )
    assert (count, keys, ordered, contexts) == (100_000, 100_000, True, 1)


def test_merge(tables: Pipeline) -> None:
    if connection.pg_version < 150000:  # type: ignore[attr-defined]
        pytest.skip("MERGE came with PostgreSQL 15")
    with bound_context(job="merge"):
        execute(
            "MERGE INTO lab.t USING (VALUES (1, 10), (2, 0), (3, 30)) v (id, a) ON t.id = v.id "
            "WHEN MATCHED AND v.a = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET a = v.a "
            "WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.a)"
        )
    assert sorted(brief(tables.drain())) == [("CREATE", "t", "3"), ("DELETE", "t", "2"), ("UPDATE", "t", "1")]
    assert [context["job"] for context in tables.contexts] == ["merge"] * 3


def test_upsert_is_recorded_as_what_it_did(tables: Pipeline) -> None:
    with bound_context(job="upsert"):
        execute("INSERT INTO lab.t VALUES (1, 5), (3, 5) ON CONFLICT (id) DO UPDATE SET a = excluded.a")
        execute("INSERT INTO lab.t VALUES (1, 9), (4, 9) ON CONFLICT DO NOTHING")
    assert brief(tables.drain()) == [("UPDATE", "t", "1"), ("CREATE", "t", "3"), ("CREATE", "t", "4")]
    assert [context["job"] for context in tables.contexts] == ["upsert"] * 3


def test_a_statement_that_writes_several_tables(tables: Pipeline) -> None:
    with bound_context(job="move"):
        execute(
            "WITH gone AS (DELETE FROM lab.t RETURNING *), "
            "kept AS (INSERT INTO lab.u SELECT * FROM gone RETURNING id) "
            "INSERT INTO lab.t SELECT id + 10, 0 FROM kept"
        )
    assert sorted(brief(tables.drain())) == [
        ("CREATE", "t", "11"),
        ("CREATE", "t", "12"),
        ("CREATE", "u", "1"),
        ("CREATE", "u", "2"),
        ("DELETE", "t", "1"),
        ("DELETE", "t", "2"),
    ]
    assert [context["job"] for context in tables.contexts] == ["move"] * 6


@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("level", ["ROW", "STATEMENT"])
def test_what_triggers_write_has_the_context_of_the_statement(
    tables: Pipeline, when: str, level: str
) -> None:
    execute(
        "CREATE FUNCTION lab.note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO lab.u SELECT coalesce(max(id), 0) + 1, 0 FROM lab.u; RETURN NEW; END$$"
    )
    # Before ours, which comes first among those with small letters.
    execute(f'CREATE TRIGGER "A" {when} UPDATE ON lab.t FOR EACH {level} EXECUTE FUNCTION lab.note()')
    with transaction.atomic():
        with bound_context(step=1):
            execute("UPDATE lab.t SET a = 0 WHERE id = 1")
        with bound_context(step=2):
            execute("UPDATE lab.t SET a = 0 WHERE id = 2")
    found = zip(tables.drain(), tables.contexts, strict=True)
    assert sorted((change.table, change.key, context["step"]) for change, context in found) == [
        ("t", "1", 1),
        ("t", "2", 2),
        ("u", "1", 1),
        ("u", "2", 2),
    ]


def test_what_deferred_triggers_write_has_the_last_context_of_the_transaction(tables: Pipeline) -> None:
    execute(
        "CREATE FUNCTION lab.note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO lab.u VALUES (NEW.id, NEW.a); RETURN NULL; END$$"
    )
    execute(
        "CREATE CONSTRAINT TRIGGER note AFTER UPDATE ON lab.t DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION lab.note()"
    )
    with transaction.atomic(), bound_context(step=1):
        execute("UPDATE lab.t SET a = 0")
    assert [change.table for change in tables.drain()] == ["t", "t", "u", "u"]
    assert [context["step"] for context in tables.contexts] == [1] * 4


def test_deferred_constraints_are_no_obstacle(tables: Pipeline) -> None:
    execute("ALTER TABLE lab.u ADD FOREIGN KEY (a) REFERENCES lab.t DEFERRABLE INITIALLY DEFERRED")
    with transaction.atomic():
        execute("INSERT INTO lab.u VALUES (1, 7)")
        execute("INSERT INTO lab.t VALUES (7, 7)")
    assert brief(tables.drain()) == [("CREATE", "u", "1"), ("CREATE", "t", "7")]


def test_cascades_have_the_context_of_the_statement(tables: Pipeline) -> None:
    execute(
        "CREATE TABLE lab.v (id int PRIMARY KEY, t int REFERENCES lab.t ON DELETE CASCADE ON UPDATE CASCADE)"
    )
    execute("INSERT INTO lab.v VALUES (1, 1), (2, 2)")
    tables.drain()
    with bound_context(job="cascade"):
        execute("UPDATE lab.t SET id = 5 WHERE id = 1")
        execute("DELETE FROM lab.t WHERE id = 2")
    assert brief(tables.drain()) == [
        ("UPDATE", "t", "5"),
        ("UPDATE", "v", "1"),
        ("DELETE", "t", "2"),
        ("DELETE", "v", "2"),
    ]
    assert [context["job"] for context in tables.contexts] == ["cascade"] * 4


def test_what_rules_make_of_a_statement_is_recorded(tables: Pipeline) -> None:
    execute("CREATE RULE note AS ON UPDATE TO lab.t DO ALSO INSERT INTO lab.u VALUES (NEW.id, NEW.a)")
    execute("CREATE VIEW lab.seen AS SELECT * FROM lab.t")
    execute("CREATE RULE make AS ON INSERT TO lab.seen DO INSTEAD INSERT INTO lab.u VALUES (NEW.id, NEW.a)")
    with bound_context(job="rule"):
        execute("UPDATE lab.t SET a = 5 WHERE id = 1")
        execute("INSERT INTO lab.seen VALUES (9, 9)")
        execute("UPDATE lab.seen SET a = 6 WHERE id = 2")
    assert sorted(brief(tables.drain())) == [
        ("CREATE", "u", "1"),
        ("CREATE", "u", "2"),
        ("CREATE", "u", "9"),
        ("UPDATE", "t", "1"),
        ("UPDATE", "t", "2"),
    ]
    assert [context["job"] for context in tables.contexts] == ["rule"] * 5


def test_a_prepared_transaction_is_recorded_when_it_is_committed(tables: Pipeline) -> None:
    if execute("SHOW max_prepared_transactions") == [("0",)]:
        pytest.skip("the server has max_prepared_transactions = 0")
    for number, name in enumerate(("kept", "gone")):
        with bound_context(job=name):
            execute("BEGIN")
            execute(f"INSERT INTO lab.u VALUES ({number}, 0)")
        execute(f"PREPARE TRANSACTION 'bemi_{name}'")
    execute("UPDATE lab.t SET a = 0 WHERE id = 1")
    assert brief(tables.drain()) == [("UPDATE", "t", "1")]
    execute("ROLLBACK PREPARED 'bemi_gone'")
    execute("COMMIT PREPARED 'bemi_kept'")
    assert brief(tables.drain()) == [("CREATE", "u", "0")]
    assert tables.contexts[0]["job"] == "kept"


def test_ten_thousand_subtransactions_are_one_transaction(tables: Pipeline) -> None:
    with bound_context(job="many"):
        execute(
            "DO $$BEGIN FOR i IN 1..10000 LOOP BEGIN INSERT INTO lab.u VALUES (i, 0); "
            "IF i % 10 = 0 THEN RAISE division_by_zero; END IF; "
            "EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END$$"
        )
    changes = tables.drain()
    assert [change.key for change in changes] == [str(number) for number in range(1, 10001) if number % 10]
    assert {context["job"] for context in tables.contexts} == {"many"}
    assert execute("SELECT count(DISTINCT transaction_id) FROM changes WHERE \"table\" = 'u'") == [(1,)]


def test_interleaved_transactions_are_in_the_order_of_their_commits(tables: Pipeline) -> None:
    with session() as first, session() as second, first.cursor() as one, second.cursor() as two:
        for number in range(3):
            one.execute("INSERT INTO lab.u VALUES (%s, 1)", [10 + number])
            two.execute("INSERT INTO lab.u VALUES (%s, 2)", [20 + number])
        execute("INSERT INTO lab.u VALUES (1, 0)")
        second.commit()
        one.execute("INSERT INTO lab.u VALUES (13, 1)")
        first.commit()
    assert [change.key for change in tables.drain()] == ["1", "20", "21", "22", "10", "11", "12", "13"]


def test_a_transaction_that_was_open_before_the_worker_is_whole(tables: Pipeline) -> None:
    tables.stop()
    with session() as opened, opened.cursor() as cursor:
        cursor.execute("INSERT INTO lab.u VALUES (1, 1)")
        execute("INSERT INTO lab.u VALUES (2, 2)")
        assert [change.key for change in tables.drain()] == ["2"]
        tables.stop()
        execute("INSERT INTO lab.u VALUES (3, 3)")
        assert [change.key for change in tables.drain()] == ["3"]
        cursor.execute("UPDATE lab.u SET a = 4 WHERE id = 1")
        opened.commit()
    assert brief(tables.drain()) == [("CREATE", "u", "1"), ("UPDATE", "u", "1")]


def test_a_transaction_that_writes_only_untracked_tables_leaves_nothing_and_holds_nothing_up(
    tables: Pipeline,
) -> None:
    execute("CREATE SCHEMA attic")
    try:
        execute("CREATE TABLE attic.box (id int)")
        execute("INSERT INTO attic.box SELECT generate_series(1, 1000)")
        with transaction.atomic():
            execute("DELETE FROM attic.box")
        execute("INSERT INTO lab.u VALUES (1, 1)")
        execute("TRUNCATE attic.box")
        assert brief(tables.drain()) == [("CREATE", "u", "1")]
    finally:
        execute("DROP SCHEMA attic CASCADE")


def test_a_change_that_is_undone_in_its_transaction_is_not_recorded(tables: Pipeline) -> None:
    with transaction.atomic():
        execute("UPDATE lab.t SET a = 5")
        transaction.set_rollback(True)
    with transaction.atomic():
        execute("SAVEPOINT s")
        execute("DELETE FROM lab.t")
        execute("ROLLBACK TO SAVEPOINT s")
        execute("INSERT INTO lab.t VALUES (3, 3)")
    assert brief(tables.drain()) == [("CREATE", "t", "3")]


def test_what_a_procedure_commits_is_in_the_order_of_its_commits(tables: Pipeline) -> None:
    execute(
        "CREATE PROCEDURE lab.work() LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO lab.u VALUES (1, 1); COMMIT; INSERT INTO lab.u VALUES (2, 2); END$$"
    )
    execute("CALL lab.work()")
    assert [change.key for change in tables.drain()] == ["1", "2"]
    assert {context["SQL"] for context in tables.contexts} == {"CALL lab.work()"}
