# ruff: noqa: S608 - the SQL of tests
"""A row has the context of its own statement or none: never that of another one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.db import connection, transaction
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bemi_django import bound_context, conf
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

TABLES = """
CREATE TABLE lab.a (id int PRIMARY KEY, n int);
CREATE TABLE lab.w (n int);
CREATE TABLE lab.d (n int);
CREATE TABLE lab.c (
    id int PRIMARY KEY, n int, a_id int REFERENCES lab.a ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE lab.p (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
CREATE TABLE lab.p1 PARTITION OF lab.p FOR VALUES FROM (0) TO (10);
CREATE TABLE lab.p2 PARTITION OF lab.p FOR VALUES FROM (10) TO (1000);
CREATE TABLE lab.par (id int, n int);
CREATE TABLE lab.chi () INHERITS (lab.par);
CREATE TABLE lab.gra () INHERITS (lab.chi);
CREATE TABLE lab.mark (step int);
DROP TRIGGER _bemi_capture ON lab.mark;
DROP TRIGGER _bemi_capture_truncate ON lab.mark;
CREATE FUNCTION lab.note() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN EXECUTE format(''INSERT INTO lab.%I VALUES ($1.n)'', TG_ARGV[0]) USING NEW; RETURN NULL; END';
CREATE TRIGGER now AFTER INSERT OR UPDATE ON lab.a FOR EACH ROW EXECUTE FUNCTION lab.note('w');
CREATE CONSTRAINT TRIGGER later AFTER INSERT OR UPDATE ON lab.a DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION lab.note('d');
"""
#: Each table and those above it.
ABOVE = {
    "a": ["a"],
    "w": ["w"],
    "d": ["d"],
    "c": ["c"],
    "p": ["p"],
    "p1": ["p1", "p"],
    "p2": ["p2", "p"],
    "par": ["par"],
    "chi": ["chi", "par"],
    "gra": ["gra", "chi", "par"],
}
KEYED = ["a", "p", "p1", "p2", "par", "chi", "gra"]
WRITES = [
    *(f"INSERT INTO lab.{table} (id, n) VALUES (%(id)s, %(step)s)" for table in KEYED),
    *(f"UPDATE lab.{table} SET n = %(step)s" for table in (*KEYED, "c", "ONLY par")),
    *(f"DELETE FROM lab.{table} WHERE id %% 2 = %(id)s %% 2" for table in (*KEYED, "c")),
    "INSERT INTO lab.c SELECT id, %(step)s, id FROM lab.a ON CONFLICT (id) DO UPDATE SET n = %(step)s",
    "INSERT INTO lab.p VALUES (%(id)s, %(step)s) ON CONFLICT (id) DO UPDATE SET n = %(step)s",
    "UPDATE lab.a SET id = id + 100",
    "UPDATE lab.p SET id = (id + 10) %% 20 WHERE id < 20",
    "TRUNCATE lab.a CASCADE",
    "TRUNCATE lab.p",
    "TRUNCATE lab.par",
    "TRUNCATE lab.p2, lab.gra",
    "WITH x AS (UPDATE lab.a SET n = %(step)s) UPDATE lab.chi SET n = %(step)s",
    "WITH x AS (DELETE FROM lab.p1) INSERT INTO lab.gra VALUES (%(id)s, %(step)s)",
]
ids = st.integers(0, 19)
steps = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(WRITES), ids),
    st.tuples(st.just("write"), st.sampled_from(WRITES), ids),
    st.tuples(st.just("plain"), st.sampled_from(WRITES), ids),
    st.tuples(st.just("trigger"), st.sampled_from(list(ABOVE)), st.integers(0, 1)),
    st.tuples(st.just("role"), st.sampled_from(["replica", "origin"]), st.just(0)),
    st.tuples(st.sampled_from(["savepoint", "rollback", "release", "constraints"]), st.just(""), st.just(0)),
)


def switch(table: str, how: str) -> str:
    """Return the statement that turns the triggers of a table on or off."""
    return f"ALTER TABLE lab.{table} {how} TRIGGER _bemi_capture, {how} TRIGGER _bemi_capture_truncate"


class Transaction:
    """The steps of one transaction; behind the rows of each step stands a mark in the log."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._kept: list[frozenset[str]] = []
        #: Tables whose triggers are off: now, and at each step.
        self.off: frozenset[str] = frozenset()
        self.off_at: dict[int, frozenset[str]] = {}
        cursor.execute("BEGIN")

    def do(self, step: int, kind: str, argument: str, number: int) -> None:
        if kind == "savepoint":
            self._kept.append(self.off)
            self._cursor.execute(f"SAVEPOINT s{len(self._kept)}")
        elif kind in ("rollback", "release"):
            if self._kept:
                how = "ROLLBACK TO" if kind == "rollback" else "RELEASE"
                self._cursor.execute(f"{how} SAVEPOINT s{len(self._kept)}")
                kept = self._kept.pop()
                self.off = kept if kind == "rollback" else self.off
        else:
            self._cursor.execute("SAVEPOINT step")
            try:
                self._attempt(step, kind, argument, number)
                self._cursor.execute("INSERT INTO lab.mark VALUES (%s)", [step])
            except psycopg2.Error:
                # A key that is there, a foreign key without its row, ALTER TABLE before a deferred trigger.
                self._cursor.execute("ROLLBACK TO SAVEPOINT step")
            self._cursor.execute("RELEASE SAVEPOINT step")

    def end(self, is_prepared: bool) -> None:
        self._cursor.execute("PREPARE TRANSACTION 'attribution'" if is_prepared else "COMMIT")
        if is_prepared:
            self._cursor.execute("COMMIT PREPARED 'attribution'")

    def _attempt(self, step: int, kind: str, argument: str, number: int) -> None:
        if kind == "trigger":
            self._cursor.execute(switch(argument, "ENABLE ALWAYS" if number else "DISABLE"))
            self.off = self.off - {argument} if number else self.off | {argument}
        elif kind == "role":
            self._cursor.execute(f"SET LOCAL session_replication_role = {argument}")
        elif kind == "constraints":
            self._cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            self._cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        else:
            comment = f'/*Bemi {{"step": {step},"SQL": "x"}} Bemi*/ ' if kind == "write" else ""
            self._cursor.execute(f"{comment}{argument} /* step {step} */", {"id": number, "step": step})
        self.off_at[step] = self.off


def step_of(context: dict[str, Any]) -> object:
    """Return the statement that a row is attributed to: a step, "the end" of the transaction, or None."""
    if not context:
        return None
    if "step" in context:
        return context["step"]
    found = re.search(r"/\* step (\d+) \*/$", context["SQL"])
    return int(found[1]) if found else "the end"


def groups(pipeline: Pipeline) -> Iterator[tuple[int | None, list[tuple[str, object]]]]:
    """Yield each step with its rows, as tables and the steps that they are attributed to; last, the end."""
    rows: list[tuple[str, object]] = []
    for change, context in zip(pipeline.drain(), pipeline.contexts, strict=True):
        table = (change.partition or f"lab.{change.table}").removeprefix("lab.")
        if table == "mark":
            assert context == {}
            yield json.loads(change.after)["step"], rows
            rows = []
        else:
            rows.append((table, step_of(context)))
    yield None, rows


@pytest.fixture
def session(pipeline: Pipeline) -> Iterator[Any]:
    execute(TABLES)
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as opened:
        opened.autocommit = True
        with opened.cursor() as cursor:
            yield cursor


def test_no_row_is_attributed_to_another_statement(pipeline: Pipeline, session: Any) -> None:
    reset = "; ".join(switch(table, "ENABLE ALWAYS") for table in ABOVE)

    @given(st.lists(steps, min_size=4, max_size=25), st.booleans())
    @settings(max_examples=40)
    @example([("write", "UPDATE lab.a SET n = %(step)s", 0)] * 2, False)
    def check(taken: list[tuple[str, str, int]], is_prepared: bool) -> None:
        session.execute(f"{reset}; TRUNCATE lab.a, lab.w, lab.d, lab.c, lab.p, lab.par")
        session.execute("INSERT INTO lab.a SELECT i, 0 FROM generate_series(1, 9, 4) i")
        session.execute(
            "INSERT INTO lab.c SELECT id, 0, id FROM lab.a; INSERT INTO lab.p SELECT * FROM lab.a"
        )
        session.execute("INSERT INTO lab.par VALUES (1, 0); INSERT INTO lab.gra VALUES (2, 0), (3, 0)")
        pipeline.drain()
        tried = Transaction(session)
        for number, what in enumerate(taken):
            tried.do(number, *what)
        tried.end(is_prepared)
        for step, rows in groups(pipeline):
            off = tried.off if step is None else tried.off_at[step]
            for table, found in rows:
                if off.intersection(ABOVE[table]):
                    assert found is None, (step, table)
                elif table == "d":
                    # Of a deferred trigger: the last context of the transaction.
                    assert found == "the end" or found in tried.off_at, (step, table)
                else:
                    assert found == step, (step, table)

    check()


def attributed(pipeline: Pipeline) -> list[tuple[str, object]]:
    """Return the tables of the changes since the last call, each with the step that it is attributed to."""
    return [(change.table, step_of(c)) for change, c in zip(pipeline.drain(), pipeline.contexts, strict=True)]


def write(session: Any, step: int, statement: str) -> None:
    session.execute(f'/*Bemi {{"step": {step},"SQL": "x"}} Bemi*/ {statement}')


@pytest.mark.administrator
def test_session_replication_role_does_not_turn_capture_off(pipeline: Pipeline, session: Any) -> None:
    pipeline.drain()
    session.execute("BEGIN")
    write(session, 1, "INSERT INTO lab.p VALUES (1, 1), (11, 1)")
    session.execute("SET LOCAL session_replication_role = replica")
    write(session, 2, "INSERT INTO lab.c VALUES (1, 2, 77)")
    write(session, 3, "UPDATE lab.p SET n = 3")
    session.execute("COMMIT")
    assert attributed(pipeline) == [("p", 1), ("p", 1), ("c", 2), ("p", 3), ("p", 3)]


def test_a_row_written_with_triggers_off_is_unattributed(pipeline: Pipeline, session: Any) -> None:
    pipeline.drain()
    session.execute("BEGIN")
    write(session, 1, "INSERT INTO lab.gra VALUES (1, 1)")
    for how, step in (("DISABLE", 2), ("ENABLE", 3)):
        session.execute(f"ALTER TABLE lab.gra {how} TRIGGER ALL")
        write(session, step, "UPDATE lab.gra SET n = 2")
    session.execute("COMMIT")
    assert attributed(pipeline) == [("gra", 1), ("gra", None), ("gra", 3)]


@pytest.mark.parametrize("ending", ["SET CONSTRAINTS ALL IMMEDIATE; COMMIT", "COMMIT", "end", "PREPARE"])
def test_deferred_triggers_write_under_the_last_context(
    pipeline: Pipeline, session: Any, ending: str
) -> None:
    pipeline.drain()
    session.execute("BEGIN")
    write(session, 1, "INSERT INTO lab.a VALUES (1, 1)")
    write(session, 2, "INSERT INTO lab.p VALUES (1, 1)")
    for statement in ending.split("; "):
        session.execute("PREPARE TRANSACTION 'ending'" if statement == "PREPARE" else statement)
    if ending == "PREPARE":
        session.execute("COMMIT PREPARED 'ending'")
    assert attributed(pipeline) == [("a", 1), ("w", 1), ("p", 2), ("d", 2)]


@pytest.mark.parametrize(
    ("text", "is_last"),
    [
        ("SET CONSTRAINTS ALL IMMEDIATE; UPDATE lab.p SET n = 3", False),
        ("set constraints all deferred;\nSET CONSTRAINTS ALL IMMEDIATE; DELETE FROM lab.p", False),
        ("SET CONSTRAINTS ALL DEFERRED; SET CONSTRAINTS ALL IMMEDIATE;\n", True),
        ("SET CONSTRAINTS lab.later IMMEDIATE; COMMIT", True),
    ],
)
def test_what_stands_behind_set_constraints_is_a_statement_of_its_own(
    pipeline: Pipeline, session: Any, text: str, is_last: bool
) -> None:
    session.execute("INSERT INTO lab.p VALUES (1, 1)")
    pipeline.drain()
    session.execute("BEGIN")
    write(session, 1, "INSERT INTO lab.a VALUES (1, 1)")
    session.execute(text)
    session.execute("COMMIT")
    changes = pipeline.drain()
    found = {change.table: context for change, context in zip(changes, pipeline.contexts, strict=True)}
    assert found["a"]["step"] == 1
    for table in ("d",) if is_last else ("d", "p"):
        if is_last:
            assert found[table]["step"] == 1
        else:
            assert found[table]["SQL"] == text and "step" not in found[table]


def test_check_constraints_keeps_the_context(pipeline: Pipeline, session: Any) -> None:
    pipeline.drain()
    with transaction.atomic():
        with bound_context(step=1):
            execute("INSERT INTO lab.a VALUES (1, 1)")
        connection.check_constraints()
    assert attributed(pipeline) == [("a", 1), ("w", 1), ("d", 1)]


def test_deferred_triggers_write_where_no_statement_ends_the_transaction(
    pipeline: Pipeline, session: Any
) -> None:
    psycopg = pytest.importorskip("psycopg", reason="psycopg 3 speaks the extended protocol")
    pipeline.drain()
    with closing(psycopg.connect(**conf.connection_parameters("default"), autocommit=True)) as opened:
        opened.execute('/*Bemi {"step": 1,"SQL": "x"} Bemi*/ INSERT INTO lab.a VALUES (%s, 1)', [1])
        opened.execute("INSERT INTO lab.a VALUES (%s, 1) /* step 2 */", [2])
    assert attributed(pipeline) == [
        ("a", 1), ("w", 1), ("d", 1), ("a", 2), ("w", 2), ("d", 2),
    ]  # fmt: skip


def test_a_further_table_costs_80_bytes_of_wal(pipeline: Pipeline, session: Any) -> None:
    def written(statement: str) -> int:
        session.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
        (before,) = session.fetchone()
        write(session, 1, statement)
        session.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
        return int(session.fetchone()[0] - before)

    one = min(written("UPDATE lab.a SET n = 1 WHERE false") for _ in range(5))
    many = "WITH p AS (UPDATE lab.p SET n = 1 WHERE false), c AS (UPDATE lab.c SET n = 1 WHERE false) "
    three = min(written(many + "UPDATE lab.a SET n = 1 WHERE false") for _ in range(5))
    assert three - one <= 2 * 80
