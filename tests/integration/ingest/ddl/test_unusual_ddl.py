"""Tables are made and changed in ways other than those of migrations, and written between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import psycopg2
import pytest
from django.db import transaction

from bemi_django import conf
from bemi_django.schema import tracking
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute
from tests.support.witness import Witness

Run = Callable[[str], None]


@pytest.fixture
def witness(pipeline: Pipeline) -> Iterator[Witness]:
    """Expects changes: in the end they are recorded, and ``sync`` has nothing to do."""
    made = Witness()
    yield made
    assert pipeline.drain() == made.expected
    assert tracking.plan() == [], "the event triggers have left something to do"


@pytest.fixture
def run(pipeline: Pipeline) -> Iterator[Run]:
    """Executes statements in a session to which nothing of ours is printed."""
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as session:
        session.autocommit = True

        def statements(text: str) -> None:
            with session.cursor() as cursor:
                cursor.execute(text)

        yield statements
        assert session.notices == []


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE lab.t AS SELECT 1 AS id, 'a'::text AS name",
        "SELECT 1 AS id, 'a'::text AS name INTO lab.t",
        "DO $$ BEGIN EXECUTE 'CREATE TABLE lab.t (id int, name text)'; END $$",
        "CREATE UNLOGGED TABLE lab.t (id int, name text); ALTER TABLE lab.t SET LOGGED",
        "CREATE TABLE lab.t (id int, name bool); ALTER TABLE lab.t DROP id, ADD id int, ALTER name TYPE text",
    ],
)
def test_a_table_is_made(run: Run, witness: Witness, made: str) -> None:
    run(made)
    witness.insert("lab.t", "2, 'b'", columns="id, name")
    witness.update("lab.t", "name = 'c'", "id = 2")
    run("ALTER TABLE lab.t ADD CONSTRAINT once PRIMARY KEY (id)")
    witness.keys["lab.t"] = ["id"]
    witness.delete("lab.t", "id = 2")


def test_a_schema_is_made_with_what_is_in_it(run: Run, witness: Witness) -> None:
    run(
        "CREATE SCHEMA lab2 CREATE TABLE t (id int PRIMARY KEY) CREATE VIEW v AS SELECT id FROM t "
        "CREATE TABLE u (t_id int REFERENCES t)"
    )
    witness.keys["lab2.t"] = ["id"]
    witness.insert("lab2.t", "1")
    witness.insert("lab2.u", "1")


def test_a_table_is_like_another_one(run: Run, witness: Witness) -> None:
    run(
        "CREATE TABLE lab.t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE DEFAULT 'x',"
        " twice int GENERATED ALWAYS AS (length(name)) STORED);"
        "CREATE TABLE lab.u (LIKE lab.t INCLUDING ALL)"
    )
    witness.keys["lab.t"] = witness.keys["lab.u"] = ["id"]
    for table in ("lab.t", "lab.u"):
        witness.insert(table, "")
        witness.update(table, "name = 'yy'")


def test_a_table_becomes_a_child_and_is_one_no_longer(run: Run, witness: Witness) -> None:
    run("CREATE TABLE lab.parent (id int PRIMARY KEY); CREATE TABLE lab.child (id int PRIMARY KEY, own int)")
    witness.keys["lab.child"] = ["id"]
    run("ALTER TABLE lab.child INHERIT lab.parent; ALTER TABLE lab.parent ADD name text")
    witness.insert("lab.child", "1, 2, 'a'")
    run("ALTER TABLE lab.child NO INHERIT lab.parent; ALTER TABLE lab.child DROP own")
    witness.update("lab.child", "name = 'b'")
    run("ALTER TABLE lab.child RENAME name TO title")
    witness.delete("lab.child")
    # A parent of children has no past.
    assert execute("SELECT since IS NOT NULL FROM _bemi.past WHERE (schema, name) = ('lab', 'parent')") == [
        (True,)
    ]


def test_the_last_child_is_dropped(run: Run, witness: Witness) -> None:
    run("CREATE TABLE lab.parent (id int PRIMARY KEY); CREATE TABLE lab.child () INHERITS (lab.parent)")
    witness.keys["lab.parent"] = ["id"]
    run("DROP TABLE lab.child")
    witness.insert("lab.parent", "1")
    assert execute("SELECT since IS NOT NULL FROM _bemi.past WHERE (schema, name) = ('lab', 'parent')") == [
        (True,)
    ]


def test_a_dropped_column_takes_a_cast_and_a_column_of_others_with_it(run: Run, witness: Witness) -> None:
    run(
        "CREATE TABLE lab.read (a int, b int); CREATE TYPE lab.mood AS ENUM ('ok');"
        "CREATE FUNCTION lab.shown(lab.mood) RETURNS json STABLE "
        "    BEGIN ATOMIC SELECT to_json(count(a)) FROM lab.read; END;"
        "CREATE CAST (lab.mood AS json) WITH FUNCTION lab.shown;"
        "CREATE FUNCTION lab.more(int) RETURNS int IMMUTABLE "
        "    BEGIN ATOMIC SELECT $1 + count(b)::int FROM lab.read; END;"
        "CREATE TABLE lab.t (id int PRIMARY KEY, mood lab.mood);"
        "CREATE TABLE lab.u (id int PRIMARY KEY, more int GENERATED ALWAYS AS (lab.more(id)) STORED)"
    )
    witness.keys["lab.t"] = witness.keys["lab.u"] = ["id"]
    # It says what goes with it.
    run("SET client_min_messages = warning")
    run("ALTER TABLE lab.read DROP a CASCADE; ALTER TABLE lab.read DROP b CASCADE")
    witness.insert("lab.t", "1, 'ok'")
    witness.insert("lab.u", "1")


def test_a_partition_is_detached_concurrently(run: Run, witness: Witness) -> None:
    run(
        "CREATE TABLE lab.root (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE lab.leaf PARTITION OF lab.root FOR VALUES FROM (0) TO (10)"
    )
    witness.keys["lab.leaf"] = ["id"]
    witness.insert("lab.leaf", "1", under="lab.root")
    run("ALTER TABLE lab.root DETACH PARTITION lab.leaf CONCURRENTLY")
    witness.update("lab.leaf", "id = 2")


def test_what_a_savepoint_takes_back(run: Run, witness: Witness) -> None:
    run("CREATE TABLE lab.t (id int PRIMARY KEY, name text)")
    witness.keys["lab.t"] = ["id"]
    with transaction.atomic():
        with suppress(ZeroDivisionError), transaction.atomic():
            execute("ALTER TABLE lab.t RENAME name TO title")
            execute("ALTER TABLE lab.t ADD note text; CREATE TABLE lab.u (id int)")
            execute("INSERT INTO lab.t VALUES (7, 'a', 'b'); INSERT INTO lab.u VALUES (7)")
            raise ZeroDivisionError
        witness.insert("lab.t", "1, 'a'")
        execute("CREATE TABLE lab.u (id int, more int[])")
        witness.insert("lab.u", "1, '{1}'")
        execute("ALTER TABLE lab.t ADD note int")
        witness.update("lab.t", "note = 1")


def test_a_function_catches_its_error_and_tries_again(run: Run, witness: Witness) -> None:
    run(
        "DO $$ BEGIN "
        "  BEGIN CREATE TABLE lab.t (id int); INSERT INTO lab.t VALUES (7); PERFORM 1 / 0; "
        "  EXCEPTION WHEN division_by_zero THEN CREATE TABLE lab.t (id int, name text); END; "
        "  DROP TABLE lab.t; CREATE TABLE lab.t (code text PRIMARY KEY); "
        "END $$"
    )
    witness.keys["lab.t"] = ["code"]
    witness.insert("lab.t", "'a'")


def test_what_is_not_tracked_leaves_the_others_alone(run: Run, witness: Witness) -> None:
    run("CREATE TABLE lab.t (id int PRIMARY KEY)")
    witness.keys["lab.t"] = ["id"]
    witness.insert("lab.t", "1")
    run("CREATE TEMP TABLE t AS SELECT 1 AS id; ALTER TABLE pg_temp.t ADD name text; DROP TABLE pg_temp.t")
    run(
        "SELECT 1 AS id INTO TEMP u; CREATE TEMP TABLE w (LIKE lab.t INCLUDING ALL); INSERT INTO w VALUES (1)"
    )
    run("BEGIN; CREATE TEMP TABLE v (id int) ON COMMIT DROP; COMMIT")
    run("CREATE MATERIALIZED VIEW lab.m AS SELECT id FROM lab.t; REFRESH MATERIALIZED VIEW lab.m")
    run("ALTER MATERIALIZED VIEW lab.m RENAME COLUMN id TO code; DROP MATERIALIZED VIEW lab.m")
    run("CREATE UNLOGGED TABLE lab.fast (id int); INSERT INTO lab.fast VALUES (1); DROP TABLE lab.fast")
    run("CREATE DOMAIN lab.few AS int CHECK (VALUE < 9); ALTER TABLE lab.t ADD few lab.few")
    run("ALTER DOMAIN lab.few ADD CHECK (VALUE > 0)")
    witness.update("lab.t", "few = 3")


def test_tables_leave_and_come_back(run: Run, witness: Witness) -> None:
    run(
        "CREATE TABLE lab.t (id int PRIMARY KEY, name text);"
        "CREATE TABLE lab.p (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE lab.leaf PARTITION OF lab.p DEFAULT"
    )
    witness.keys["lab.t"] = witness.keys["lab.p"] = witness.keys["lab.leaf"] = ["id"]
    witness.insert("lab.t", "1, 'a'")
    witness.insert("lab.leaf", "1", under="lab.p")
    run("CREATE SCHEMA elsewhere")
    try:
        for number in range(2):
            run("ALTER TABLE lab.t SET SCHEMA elsewhere; ALTER TABLE lab.p SET SCHEMA elsewhere")
            execute("INSERT INTO elsewhere.t VALUES (2, 'unseen')")
            run(f"ALTER TABLE elsewhere.t ADD c{number} int DEFAULT {number}")
            run("DELETE FROM elsewhere.t WHERE id = 2")
            run("ALTER TABLE elsewhere.t SET SCHEMA lab; ALTER TABLE elsewhere.p SET SCHEMA lab")
            witness.update("lab.t", f"name = 'back', c{number} = 7")
            witness.update("lab.leaf", f"id = {number + 5}", under="lab.p")
    finally:
        execute("DROP SCHEMA elsewhere CASCADE")


@pytest.mark.administrator
def test_tables_of_another_server_are_not_tracked(run: Run, witness: Witness) -> None:
    execute("DROP EXTENSION IF EXISTS postgres_fdw CASCADE")
    given = conf.connection_parameters("default")
    execute("CREATE TABLE lab.t (id int PRIMARY KEY)")
    try:
        run("CREATE EXTENSION postgres_fdw; CREATE SCHEMA lab2")
        run(
            "CREATE SERVER lab_server FOREIGN DATA WRAPPER postgres_fdw OPTIONS "
            f"(host '{given['host']}', port '{given['port']}', dbname '{given['dbname']}');"
            "CREATE USER MAPPING FOR CURRENT_USER SERVER lab_server OPTIONS "
            f"(user '{given['user']}', password '{given['password']}');"
            "IMPORT FOREIGN SCHEMA lab FROM SERVER lab_server INTO lab2"
        )
        witness.keys["lab.t"] = ["id"]
        execute("INSERT INTO lab2.t VALUES (1)")
        witness.delete("lab.t")
        (deletion,) = witness.expected
        inserted = deletion._replace(operation="CREATE", before=deletion.after, after=deletion.before)
        witness.expected.insert(0, inserted)
    finally:
        execute("DROP EXTENSION IF EXISTS postgres_fdw CASCADE")


@pytest.mark.administrator
def test_an_owner_goes(run: Run, witness: Witness) -> None:
    run("CREATE ROLE lab_owner; GRANT ALL ON SCHEMA lab TO lab_owner")
    try:
        run("CREATE TABLE lab.t (id int PRIMARY KEY); CREATE TABLE lab.u (id int)")
        run("ALTER TABLE lab.t OWNER TO lab_owner; ALTER TABLE lab.u OWNER TO lab_owner")
        witness.keys["lab.t"] = ["id"]
        witness.insert("lab.t", "1")
        run("ALTER TABLE lab.t OWNER TO CURRENT_USER; DROP OWNED BY lab_owner")
        witness.update("lab.t", "id = 2")
        run("ALTER TABLE lab.t OWNER TO lab_owner; REASSIGN OWNED BY lab_owner TO CURRENT_USER")
        run("ALTER TABLE lab.t ADD name text")
        witness.update("lab.t", "name = 'a'")
    finally:
        execute("DROP OWNED BY lab_owner; DROP ROLE lab_owner")
