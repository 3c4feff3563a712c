"""``bemi verify`` says which differences DDL explains, and still finds those that it does not explain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from bemi_django.doctor.tables import findings as doctor_findings
from bemi_django.verification.records.result import REUSED, Verified
from bemi_django.verification.verify import Options, verify
from tests.support import roles
from tests.support.laboratory import laboratory
from tests.support.pipeline import Pipeline, worker_config
from tests.support.project_database import execute

KEYED = "CREATE TABLE lab.t (id int PRIMARY KEY, word text, n int)"
ROWS = "INSERT INTO lab.t VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', 30)"
PARTED = (
    "CREATE TABLE lab.t (id int, word text, n int, PRIMARY KEY (id, word)) PARTITION BY LIST (word)",
    "CREATE TABLE lab.t_a PARTITION OF lab.t FOR VALUES IN ('a')",
    "CREATE TABLE lab.t_b PARTITION OF lab.t FOR VALUES IN ('b')",
    "INSERT INTO lab.t VALUES (1, 'a', 10), (2, 'b', 20), (3, 'b', 30)",
)
UNKEYED_PARTS = ("CREATE TABLE lab.t (id int, word text, n int) PARTITION BY LIST (word)", *PARTED[1:])


def together(*statements: str) -> str:
    """Return statements as one transaction."""
    return "; ".join(("BEGIN", *statements, "COMMIT"))


class Case(NamedTuple):
    """DDL and DML, what is said of the table, and a write that is then kept from the log."""

    statements: tuple[str, ...]
    report: str
    unseen: str = "INSERT INTO lab.t (id) VALUES (99)"


CASES = {
    "create table as": Case(
        (
            "CREATE TABLE lab.t AS SELECT i AS id, 'a' AS word FROM generate_series(1, 3) i",
            "INSERT INTO lab.t VALUES (4)",
        ),
        "4 rows, 3 written by DDL",
    ),
    "select into, and a key afterwards": Case(
        (
            "SELECT i AS id, 'a' AS word INTO lab.t FROM generate_series(1, 3) i",
            "ALTER TABLE lab.t ADD PRIMARY KEY (id)",
            "INSERT INTO lab.t VALUES (4, 'a')",
            "UPDATE lab.t SET word = 'b' WHERE id = 1",
        ),
        "4 rows, compared without the key, which was another one, 2 written by DDL",
    ),
    "create as and add a key in one transaction": Case(
        (
            "BEGIN; CREATE TABLE lab.t AS SELECT i AS id FROM generate_series(1, 3) i;"
            "ALTER TABLE lab.t ADD PRIMARY KEY (id); COMMIT",
        ),
        "3 rows, compared without the key, which was another one, 3 written by DDL",
    ),
    "print a key otherwise": Case(
        (
            "CREATE TABLE lab.t (id numeric(8, 2) PRIMARY KEY, n int)",
            "INSERT INTO lab.t VALUES (1.1, 1), (2, 2), (3, 3)",
            "ALTER TABLE lab.t ALTER id TYPE numeric(9, 3)",
            "UPDATE lab.t SET n = 5 WHERE id = 1.1",
            "DELETE FROM lab.t WHERE id = 3",
        ),
        "2 rows, 1 rewritten by ALTER TABLE, 3 with keys that ALTER changed",
    ),
    "make numbers of texts that are keys": Case(
        (
            "CREATE TABLE lab.t (id text PRIMARY KEY, n int)",
            "INSERT INTO lab.t VALUES ('01', 1)",
            "ALTER TABLE lab.t ALTER id TYPE int USING id::int",
            "UPDATE lab.t SET n = 5",
        ),
        "1 rows, compared without the key, which was another one, without columns that were altered (id)",
    ),
    "rename a table": Case(
        (
            KEYED.replace("lab.t", "lab.before"),
            ROWS.replace("lab.t", "lab.before"),
            "ALTER TABLE lab.before RENAME TO t",
            "UPDATE lab.t SET n = 11 WHERE id = 1",
            "DELETE FROM lab.t WHERE id = 2",
        ),
        "2 rows",
    ),
    "rename a table back and forth, and reuse its name": Case(
        (
            KEYED,
            ROWS,
            "ALTER TABLE lab.t RENAME TO other",
            "CREATE TABLE lab.t (id int PRIMARY KEY)",
            "INSERT INTO lab.t VALUES (7)",
            "DROP TABLE lab.t",
            "UPDATE lab.other SET n = 21 WHERE id = 2",
            "ALTER TABLE lab.other RENAME TO third",
            "ALTER TABLE lab.third RENAME TO t",
            "DELETE FROM lab.t WHERE id = 3",
        ),
        "2 rows",
    ),
    "rename without a key": Case(
        (
            "CREATE TABLE lab.before (id int)",
            "INSERT INTO lab.before VALUES (1), (1), (2)",
            "ALTER TABLE lab.before RENAME TO t",
            "DELETE FROM lab.t WHERE id = 2",
        ),
        "2 rows",
    ),
    "move to another schema": Case(
        (
            "CREATE SCHEMA lab_before",
            "CREATE TABLE lab_before.lab_moved (id int PRIMARY KEY)",
            "INSERT INTO lab_before.lab_moved VALUES (1), (2)",
            "ALTER TABLE lab_before.lab_moved SET SCHEMA lab",
            "ALTER TABLE lab.lab_moved RENAME TO t",
        ),
        "2 rows",
    ),
    "rename the schema": Case(
        (
            "CREATE SCHEMA lab_before",
            "CREATE TABLE lab_before.t (id int PRIMARY KEY)",
            "INSERT INTO lab_before.t VALUES (1), (2)",
            "DROP SCHEMA lab",
            "ALTER SCHEMA lab_before RENAME TO lab",
        ),
        "2 rows",
    ),
    "swap two tables in one transaction": Case(
        (
            KEYED,
            ROWS,
            "BEGIN; CREATE TABLE lab.fresh (LIKE lab.t INCLUDING ALL); "
            "INSERT INTO lab.fresh SELECT * FROM lab.t; "
            "DROP TABLE lab.t; ALTER TABLE lab.fresh RENAME TO t; COMMIT",
            "DELETE FROM lab.t WHERE id = 3",
        ),
        "2 rows",
    ),
    "drop and create": Case(
        (KEYED, ROWS, "DROP TABLE lab.t", KEYED, "INSERT INTO lab.t VALUES (4, 'd', 40)"), "1 rows"
    ),
    "create, drop and create in one transaction": Case(
        (
            together(KEYED, ROWS, "DROP TABLE lab.t", KEYED, "INSERT INTO lab.t VALUES (1, 'z', 1)"),
            "INSERT INTO lab.t VALUES (4, 'd', 40)",
        ),
        f"2 rows, 2 {REUSED}",
    ),
    "drop what was written, and create in one transaction": Case(
        (
            KEYED,
            ROWS,
            together(
                "INSERT INTO lab.t VALUES (4)",
                "DELETE FROM lab.t WHERE id = 1",
                "DROP TABLE lab.t",
                KEYED,
                "INSERT INTO lab.t VALUES (2, 'z', 1)",
            ),
        ),
        f"1 rows, 1 {REUSED}",
    ),
    "rename and create in one transaction, and keep what was renamed": Case(
        (
            KEYED.replace("lab.t", "lab.before"),
            ROWS.replace("lab.t", "lab.before"),
            together(
                "ALTER TABLE lab.before RENAME TO t",
                "CREATE TABLE lab.before (id int PRIMARY KEY, n int)",
                "INSERT INTO lab.before VALUES (1, 11), (7, 70)",
            ),
        ),
        f"3 rows, 2 {REUSED}",
    ),
    "exchange names in one transaction": Case(
        (
            KEYED,
            KEYED.replace("lab.t", "lab.u"),
            ROWS.replace("lab.t", "lab.u"),
            together(
                "ALTER TABLE lab.t RENAME TO v",
                "ALTER TABLE lab.u RENAME TO t",
                "ALTER TABLE lab.v RENAME TO u",
                "INSERT INTO lab.u VALUES (9, 'z', 1)",
            ),
        ),
        f"3 rows, 1 {REUSED}",
    ),
    "create, drop and create in one transaction, without a key": Case(
        (
            together(
                "CREATE TABLE lab.t (id int)",
                "INSERT INTO lab.t VALUES (1), (1), (2)",
                "DROP TABLE lab.t",
                "CREATE TABLE lab.t (id int)",
                "INSERT INTO lab.t VALUES (2)",
            ),
            "INSERT INTO lab.t VALUES (4)",
        ),
        f"2 rows, 1 written by DDL, 3 {REUSED}",
    ),
    "drop and create a partition in one transaction": Case(
        (
            *PARTED,
            together(
                "INSERT INTO lab.t VALUES (4, 'b')",
                "DROP TABLE lab.t_b",
                "CREATE TABLE lab.t_b PARTITION OF lab.t FOR VALUES IN ('b')",
                "INSERT INTO lab.t VALUES (5, 'b')",
            ),
        ),
        f"2 rows, 2 of a partition that was dropped or detached, 1 {REUSED}",
        "INSERT INTO lab.t VALUES (99, 'a')",
    ),
    "create in a savepoint that is rolled back, and create": Case(
        (together("SAVEPOINT s", KEYED, ROWS, "ROLLBACK TO s", KEYED, "INSERT INTO lab.t VALUES (7)"),),
        "1 rows",
    ),
    "rename a column": Case((KEYED, ROWS, "ALTER TABLE lab.t RENAME word TO term"), "3 rows"),
    "rename the key": Case(
        (
            KEYED,
            ROWS,
            "ALTER TABLE lab.t RENAME id TO ident",
            "UPDATE lab.t SET n = 11 WHERE ident = 1",
            "DELETE FROM lab.t WHERE ident = 2",
        ),
        "2 rows",
        "INSERT INTO lab.t (ident) VALUES (99)",
    ),
    "exchange the names of columns": Case(
        (
            "CREATE TABLE lab.t (id int PRIMARY KEY, a int, b int)",
            "INSERT INTO lab.t VALUES (1, 10, 20)",
            "ALTER TABLE lab.t RENAME a TO c",
            "ALTER TABLE lab.t RENAME b TO a",
            "ALTER TABLE lab.t RENAME c TO b",
        ),
        "1 rows, 1 with values that ALTER changed",
    ),
    "drop a column and add one of its name and type": Case(
        (KEYED, ROWS, "ALTER TABLE lab.t DROP COLUMN n, ADD COLUMN n int DEFAULT 5"),
        "3 rows, 3 with values that ALTER changed",
    ),
    "alter a type": Case(
        (KEYED, ROWS, "ALTER TABLE lab.t ALTER n TYPE text USING 'n' || n"),
        "3 rows, 3 with values that ALTER changed",
    ),
    "alter a type to itself": Case(
        (KEYED, ROWS, "ALTER TABLE lab.t ALTER n TYPE int USING n * 2"),
        "3 rows, 3 with values that ALTER changed",
    ),
    "alter a type that text shows alike": Case(
        (KEYED, ROWS, "ALTER TABLE lab.t ALTER n TYPE bigint"), "3 rows"
    ),
    "alter a length": Case(
        (KEYED, ROWS, "ALTER TABLE lab.t ALTER word TYPE varchar(2) USING 'xy'"),
        "3 rows, 3 with values that ALTER changed",
    ),
    "alter a type without a key": Case(
        (
            "CREATE TABLE lab.t (id int, n int)",
            "INSERT INTO lab.t VALUES (1, 10), (2, 20)",
            "ALTER TABLE lab.t ALTER n TYPE text USING 'n' || n",
        ),
        "2 rows, without columns that were altered (n)",
    ),
    "alter a type to itself without a key": Case(
        (
            "CREATE TABLE lab.t (id int, n int)",
            "INSERT INTO lab.t VALUES (1, 10), (2, 20)",
            "ALTER TABLE lab.t ALTER n TYPE int USING n * 2",
        ),
        "2 rows, without columns that were altered (n)",
    ),
    "add a column without a key": Case(
        (
            "CREATE TABLE lab.t (id int, word text)",
            "INSERT INTO lab.t VALUES (1, 'a'), (1, 'a'), (2, 'b')",
            "ALTER TABLE lab.t ADD fresh int NOT NULL DEFAULT 7, DROP word",
            "DELETE FROM lab.t WHERE id = 2",
        ),
        "2 rows, without columns that were altered (fresh)",
    ),
    "add a column of a domain that does not allow NULL": Case(
        (
            "CREATE DOMAIN lab.name AS text NOT NULL",
            KEYED,
            ROWS,
            "ALTER TABLE lab.t ADD name lab.name DEFAULT 'x', ALTER n TYPE numeric(7, 2)",
            "UPDATE lab.t SET name = 'y' WHERE id = 1",
        ),
        "3 rows",
        "INSERT INTO lab.t (id, name) VALUES (99, 'z')",
    ),
    "alter the type of the key": Case(
        (
            "CREATE TABLE lab.t (id timestamptz PRIMARY KEY, n int)",
            "INSERT INTO lab.t VALUES ('2026-01-02 03:04', 10), ('2026-01-03', 20)",
            "ALTER TABLE lab.t ALTER id TYPE date USING id::date",
        ),
        "2 rows, compared without the key, which was another one, without columns that were altered (id)",
        "INSERT INTO lab.t (id) VALUES ('2027-01-01')",
    ),
    "widen the key": Case(
        (KEYED, ROWS, "ALTER TABLE lab.t ALTER id TYPE bigint", "DELETE FROM lab.t WHERE id = 1"), "2 rows"
    ),
    "give rows the keys of others": Case(
        (
            KEYED,
            ROWS,
            "ALTER TABLE lab.t ALTER id TYPE bigint USING id + 1",
            "UPDATE lab.t SET n = 5 WHERE id = 2",
        ),
        "3 rows, 1 rewritten by ALTER TABLE, 1 with keys that ALTER changed, "
        "1 with values that ALTER changed",
    ),
    "rename a value of an enum": Case(
        (
            "CREATE TYPE lab.mood AS ENUM ('sad', 'happy')",
            "CREATE TABLE lab.t (id int PRIMARY KEY, mood lab.mood)",
            "INSERT INTO lab.t VALUES (1, 'sad'), (2, 'happy')",
            "ALTER TYPE lab.mood RENAME VALUE 'sad' TO 'blue'",
        ),
        "2 rows, 1 with values that ALTER changed",
    ),
    "rename values of an enum in a key": Case(
        (
            "CREATE TYPE lab.mood AS ENUM ('sad', 'happy', 'angry')",
            "CREATE DOMAIN lab.feeling AS lab.mood",
            "CREATE TABLE lab.t (id lab.feeling, n int, word text, PRIMARY KEY (id, n))",
            "INSERT INTO lab.t VALUES ('sad', 1, 'a'), ('happy', 1, 'b'), ('angry', 1, 'c')",
            "ALTER TYPE lab.mood RENAME VALUE 'happy' TO 'glad'",
            "ALTER TYPE lab.mood RENAME VALUE 'sad' TO 'happy'",
            "INSERT INTO lab.t VALUES ('happy', 2, 'd')",
        ),
        "4 rows, 2 with keys that ALTER changed, 1 with values that ALTER changed",
        "INSERT INTO lab.t VALUES ('angry', 2, 'z')",
    ),
    "rename an attribute of a type, and a value in it": Case(
        (
            "CREATE TYPE lab.mood AS ENUM ('sad')",
            "CREATE TYPE lab.pair AS (a int, b lab.mood)",
            "CREATE TABLE lab.t (id int PRIMARY KEY, pair lab.pair, pairs lab.pair[])",
            "INSERT INTO lab.t VALUES (1, ROW(1, 'sad'), NULL), (2, NULL, ARRAY[ROW(1, 'sad')]::lab.pair[])",
            "ALTER TYPE lab.mood RENAME VALUE 'sad' TO 'blue'",
            "ALTER TYPE lab.pair RENAME ATTRIBUTE b TO c CASCADE",
        ),
        "2 rows, 2 with values that ALTER changed",
    ),
    "another key": Case(
        (
            KEYED,
            ROWS,
            "ALTER TABLE lab.t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (word, n)",
            "UPDATE lab.t SET n = 11 WHERE id = 1",
            "DELETE FROM lab.t WHERE id = 2",
        ),
        "2 rows, compared without the key, which was another one",
        "INSERT INTO lab.t VALUES (99, 'z', 1)",
    ),
    "another key in one column": Case(
        (KEYED, ROWS, "ALTER TABLE lab.t DROP CONSTRAINT t_pkey", "ALTER TABLE lab.t ADD PRIMARY KEY (n)"),
        "3 rows, compared without the key, which was another one",
        "INSERT INTO lab.t VALUES (99, 'z', 1)",
    ),
    "no key any more": Case(
        (KEYED, ROWS, "ALTER TABLE lab.t DROP CONSTRAINT t_pkey", "DELETE FROM lab.t WHERE id = 2"), "2 rows"
    ),
    "drop a partition": Case(
        (*PARTED, "DROP TABLE lab.t_b"),
        "1 rows, 2 of a partition that was dropped or detached",
        "INSERT INTO lab.t VALUES (99, 'a')",
    ),
    "detach a partition": Case(
        (*PARTED, "ALTER TABLE lab.t DETACH PARTITION lab.t_b"),
        "1 rows, 2 of a partition that was dropped or detached",
        "INSERT INTO lab.t VALUES (99, 'a')",
    ),
    "drop a partition without a key": Case(
        (*UNKEYED_PARTS, "DROP TABLE lab.t_b"), "1 rows", "INSERT INTO lab.t VALUES (99, 'a')"
    ),
    "a partition that is replaced": Case(
        (
            *PARTED,
            "DROP TABLE lab.t_b",
            "CREATE TABLE lab.t_b PARTITION OF lab.t FOR VALUES IN ('b')",
            "INSERT INTO lab.t VALUES (3, 'b', 31)",
        ),
        "2 rows, 1 of a partition that was dropped or detached",
        "INSERT INTO lab.t VALUES (99, 'a')",
    ),
    "attach a partition": Case(
        (
            *PARTED,
            "CREATE TABLE lab.more (id int, word text, n int, PRIMARY KEY (id, word))",
            "INSERT INTO lab.more VALUES (5, 'c', 50), (6, 'c', 60)",
            "ALTER TABLE lab.t ATTACH PARTITION lab.more FOR VALUES IN ('c')",
            "UPDATE lab.t SET n = 51 WHERE id = 5",
            "DELETE FROM lab.t WHERE id = 6",
            "INSERT INTO lab.t VALUES (7, 'c', 70)",
        ),
        "5 rows",
        "INSERT INTO lab.t VALUES (99, 'a')",
    ),
    "attach a partition and leave its rows": Case(
        (
            *PARTED,
            "CREATE TABLE lab.more (id int, word text, n int, PRIMARY KEY (id, word))",
            "INSERT INTO lab.more VALUES (5, 'c', 50), (6, 'c', 60)",
            "ALTER TABLE lab.t ATTACH PARTITION lab.more FOR VALUES IN ('c')",
        ),
        "5 rows, 2 in a partition that was attached",
        "INSERT INTO lab.t VALUES (99, 'a')",
    ),
    "attach a partition without a key": Case(
        (
            *UNKEYED_PARTS,
            "CREATE TABLE lab.more (id int, word text, n int)",
            "INSERT INTO lab.more VALUES (5, 'c', 50), (6, 'c', 60)",
            "ALTER TABLE lab.t ATTACH PARTITION lab.more FOR VALUES IN ('c')",
        ),
        "5 rows, 2 written by DDL",
        "INSERT INTO lab.t VALUES (99, 'a')",
    ),
    "detach, write and attach again": Case(
        (
            *PARTED,
            "ALTER TABLE lab.t DETACH PARTITION lab.t_b",
            "DELETE FROM lab.t_b WHERE id = 2",
            "UPDATE lab.t_b SET n = 31 WHERE id = 3",
            "INSERT INTO lab.t_b VALUES (8, 'b', 80)",
            "ALTER TABLE lab.t_b RENAME TO t_c",
            "ALTER TABLE lab.t ATTACH PARTITION lab.t_c FOR VALUES IN ('b')",
        ),
        "3 rows, 2 in a partition that was attached, 1 of a partition that was dropped or detached",
        "INSERT INTO lab.t VALUES (99, 'a')",
    ),
    "a table that was a partition": Case(
        (
            *(
                statement.replace("lab.t_b", "lab.kept").replace("lab.t ", "lab.root ")
                for statement in PARTED[:3]
            ),
            "INSERT INTO lab.root VALUES (2, 'b', 20), (3, 'b', 30)",
            "ALTER TABLE lab.root DETACH PARTITION lab.kept",
            "ALTER TABLE lab.kept RENAME TO t",
            "UPDATE lab.t SET n = 21 WHERE id = 2",
        ),
        "2 rows, 1 of them older than the log",
        "INSERT INTO lab.t VALUES (99, 'b')",
    ),
    "rename a root and a partition": Case(
        (
            *(statement.replace("lab.t ", "lab.root ") for statement in PARTED),
            "ALTER TABLE lab.root RENAME TO t",
            "ALTER TABLE lab.t_b RENAME TO t_c",
            "DELETE FROM lab.t WHERE id = 2",
        ),
        "2 rows",
        "INSERT INTO lab.t VALUES (99, 'a')",
    ),
    "a default that is computed for each row": Case(
        (KEYED, ROWS, "ALTER TABLE lab.t ADD fresh float8 DEFAULT random()"), "3 rows"
    ),
    "set unlogged columns and options": Case(
        (
            KEYED,
            ROWS,
            "ALTER TABLE lab.t ALTER word SET NOT NULL, ALTER n SET DEFAULT 7",
            "CLUSTER lab.t USING t_pkey",
        ),
        "3 rows",
        "INSERT INTO lab.t VALUES (99, 'x')",
    ),
}


@pytest.fixture(scope="module")
def lab(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Pipeline]:
    """A worker that runs beside all tests of the module."""
    with django_db_blocker.unblock(), laboratory("lab*.*") as pipeline:
        pipeline.stop()
        with pipeline.worker():
            yield pipeline
        execute("DELETE FROM changes")
        execute("DELETE FROM _bemi.dead_letters")
        execute("DELETE FROM _bemi.verifications")


@pytest.fixture
def schema(lab: Pipeline) -> Iterator[Pipeline]:
    """The empty schema ``lab``, all of whose tables are tracked."""
    execute("CREATE SCHEMA lab")
    yield lab
    for (name,) in execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'lab')"):
        execute(f"DROP SCHEMA {name} CASCADE")


def compare(lab: Pipeline, **address: Any) -> Verified:
    """Return what verify says of ``lab.t``."""
    config = worker_config(lab.slot, role=roles.OWNER)
    (result,) = verify(config._replace(source={**config.source, **address}), Options(only=["lab.t"]))
    return result


def hide(statement: str) -> None:
    """Execute a write that is not in the stream, because the table is not published for a moment."""
    execute("ALTER PUBLICATION bemi DROP TABLE lab.t")
    execute(statement)
    execute("ALTER PUBLICATION bemi ADD TABLE lab.t")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_ddl_is_no_difference(schema: Pipeline, case: Case) -> None:
    for statement in case.statements:
        execute(statement)
    assert str(compare(schema)) == f"lab.t: {case.report}, as in the log"
    hide(case.unseen)
    assert compare(schema).missing.count == 1


def test_a_partition_is_compared_with_its_root_however_it_came_there(schema: Pipeline) -> None:
    for statement in CASES["attach a partition"].statements:
        execute(statement)
    results = verify(worker_config(schema.slot, role=roles.OWNER), Options())
    said = [str(result) for result in results if str(result).startswith("lab.")]
    assert said == ["lab.t: 5 rows, as in the log"]


@pytest.mark.administrator
def test_partitions_of_other_servers_are_not_compared(schema: Pipeline) -> None:
    """Nothing of them is in the WAL, and who verifies may not be able to read them."""
    far = "CREATE FOREIGN TABLE lab.far PARTITION OF lab.t FOR VALUES IN ('f') SERVER lab_far"
    execute("CREATE FOREIGN DATA WRAPPER lab_far")
    try:
        for statement in ("CREATE SERVER lab_far FOREIGN DATA WRAPPER lab_far", *UNKEYED_PARTS, far):
            execute(statement)
        report = "lab.t: 3 rows, without partitions that are foreign tables (lab.far)"
        assert str(compare(schema)) == f"{report}, as in the log"
        (finding,) = doctor_findings("default", ["lab.t"])
        assert finding.id == "bemi.D021" and "lab.far" in finding.message
        hide("INSERT INTO lab.t VALUES (99, 'a')")
        assert str(compare(schema)) == f"{report.replace('3', '4')}, 1 not in the log"
        execute("DROP TABLE lab.t_a, lab.t_b")
        reason = "its partitions are foreign tables, whose changes are not recorded"
        assert str(compare(schema)) == f"lab.t: not compared: {reason}"
    finally:
        execute("DROP FOREIGN DATA WRAPPER lab_far CASCADE")


def test_rows_that_policies_hide_and_code_of_others_are_told(schema: Pipeline) -> None:
    """The owner obeys the policies of a table with FORCE ROW LEVEL SECURITY; a superuser runs no code."""
    execute(KEYED)
    execute(ROWS)
    dbname = str(connection.settings_dict["NAME"])
    with roles.administrator(dbname) as cursor:
        cursor.execute("CREATE ROLE lab_owner LOGIN PASSWORD 'secret'")
        try:
            cursor.execute(
                "GRANT USAGE ON SCHEMA _bemi, lab TO lab_owner; GRANT CREATE ON SCHEMA lab TO lab_owner;"
                "GRANT SELECT ON _bemi.relations TO lab_owner; ALTER TABLE lab.t OWNER TO lab_owner;"
                "CREATE POLICY few ON lab.t USING (id = 1)"
            )
            role = {"user": "lab_owner", "password": "secret"}
            assert str(compare(schema, **role)) == "lab.t: 3 rows, as in the log"
            cursor.execute("ALTER TABLE lab.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
            result = compare(schema, **role)
            assert result.is_true and str(result) == (
                "lab.t: not compared: row-level security applies to the role lab_owner; "
                "give it BYPASSRLS to have the table compared"
            )
            cursor.execute("ALTER ROLE lab_owner BYPASSRLS")
            assert str(compare(schema, **role)) == "lab.t: 3 rows, as in the log"
            cursor.execute(
                "SET ROLE lab_owner; CREATE INDEX ON lab.t (id) WHERE id > 7; CREATE FUNCTION lab.one(int) "
                "RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'; CREATE INDEX ON lab.t ((id + lab.one(1)))"
            )
            assert str(compare(schema, **role)) == "lab.t: 3 rows, as in the log"
            if not roles.are_in_use():
                result = compare(schema)
                assert result.is_true and str(result) == (
                    "lab.t: not compared: reading it may run code of lab_owner as a superuser: "
                    "use another role"
                )
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP OWNED BY lab_owner CASCADE; DROP ROLE lab_owner")
