"""DDL between writes: every change is what ``to_jsonb`` gave when it was written, with the key of then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from enum import Enum

import pytest
from django.db import connection, transaction

from bemi_django.schema import tracking
from tests.support.extensions import without_extension
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute
from tests.support.server_conditions import no_event_triggers, sync_as_migrator
from tests.support.witness import Witness


class Mode(Enum):
    """When the worker reads, and how it hears of DDL."""

    RUNNING = "the worker reads after every statement"
    STOPPED = "the worker reads when all is done"
    TRANSACTION = "all is one transaction"
    #: The role that migrates may have no event trigger: sync follows every DDL, as it follows ``migrate``.
    SYNC = "without the event triggers, the worker reads after every statement"


class World(Witness):
    """Statements, and what the worker made of them."""

    def __init__(self, pipeline: Pipeline, mode: Mode) -> None:
        super().__init__()
        self.mode = mode
        self._pipeline = pipeline
        self._recorded: list[object] = []
        self._open = ExitStack()

    def begin(self) -> None:
        if self.mode is Mode.STOPPED:
            self._pipeline.stop()
        if self.mode is Mode.TRANSACTION:
            self._open.enter_context(transaction.atomic())

    def ddl(self, statements: str) -> None:
        for statement in statements.split(";"):
            execute(statement)
        if self.mode is Mode.SYNC:
            sync_as_migrator()
        self._step()

    def check(self) -> None:
        """Compare what was written with what is recorded."""
        self._open.close()
        self._recorded += self._pipeline.drain()
        assert self._recorded == self.expected
        if self.mode is Mode.STOPPED:
            assert tracking.plan() == [], "the event triggers have left something to do"

    def close(self) -> None:
        self._open.close()

    def _expect(self, *change: object) -> None:
        super()._expect(*change)  # type: ignore[arg-type]
        self._step()

    def _step(self) -> None:
        if self.mode in (Mode.RUNNING, Mode.SYNC):
            self._recorded += self._pipeline.drain()


@pytest.fixture(params=list(Mode), ids=lambda mode: mode.name.lower())
def world(pipeline: Pipeline, request: pytest.FixtureRequest) -> Iterator[World]:
    mode: Mode = request.param
    with ExitStack() as stack:
        if mode is Mode.SYNC:
            stack.enter_context(no_event_triggers())
        made = World(pipeline, mode)
        made.begin()
        yield made
        made.close()


def test_a_column_is_added(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, a text)")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1, 'old'")
    world.insert("lab.t", "2, 'old'")
    world.ddl("ALTER TABLE lab.t ADD b timestamptz DEFAULT '2026-01-01 00:00+00', ADD c int[]")
    world.update("lab.t", "a = 'new'", "id = 1")
    world.delete("lab.t", "id = 2")
    world.insert("lab.t", "3, 'new', NULL, '{1,2}'")
    world.check()


def test_a_column_is_dropped(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, a text, b int[])")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1, 'old', '{1}'")
    world.ddl("ALTER TABLE lab.t DROP a")
    world.update("lab.t", "b = '{2}'")
    world.delete("lab.t")
    world.check()


def test_a_column_is_renamed(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, a text, b text)")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1, 'a', 'b'")
    world.ddl("ALTER TABLE lab.t RENAME a TO c; ALTER TABLE lab.t RENAME b TO a")
    world.update("lab.t", "a = 'x'")
    world.delete("lab.t")
    world.check()


def test_a_key_column_is_renamed(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, other int)")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1, 10")
    world.ddl("ALTER TABLE lab.t RENAME id TO code; ALTER TABLE lab.t RENAME other TO id")
    world.keys["lab.t"] = ["code"]
    world.update("lab.t", "code = 2")
    world.delete("lab.t")
    world.check()


def test_a_column_gets_another_type(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, a text, b int)")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1, '{1,2}', 1767225600")
    world.ddl(
        "ALTER TABLE lab.t ALTER a TYPE int[] USING a::int[], ALTER b TYPE timestamptz USING to_timestamp(b)"
    )
    world.update("lab.t", "a = '{3}'")
    world.ddl("ALTER TABLE lab.t ALTER id TYPE text")
    world.update("lab.t", "id = 'one'")
    world.delete("lab.t")
    world.check()


def test_a_column_is_dropped_and_another_of_its_name_is_added(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, a int, b text)")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1, 5, 'x'")
    world.ddl("ALTER TABLE lab.t DROP a, DROP b; ALTER TABLE lab.t ADD a int, ADD b jsonb")
    world.update("lab.t", """b = '{"b": 1.0}'""")
    world.delete("lab.t")
    world.check()


def test_the_key_column_is_dropped_and_another_of_its_name_is_added(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, a int)")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1, 5")
    world.ddl("ALTER TABLE lab.t DROP id; ALTER TABLE lab.t ADD id int")
    del world.keys["lab.t"]
    world.update("lab.t", "id = 7")
    world.delete("lab.t")
    world.check()


def test_another_column_becomes_the_key(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (a int PRIMARY KEY, b text NOT NULL)")
    world.keys["lab.t"] = ["a"]
    world.insert("lab.t", "1, 'x'")
    world.ddl("ALTER TABLE lab.t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b)")
    world.keys["lab.t"] = ["b"]
    world.update("lab.t", "b = 'y'")
    world.ddl("ALTER TABLE lab.t DROP CONSTRAINT t_pkey; ALTER TABLE lab.t ADD PRIMARY KEY (b, a)")
    world.keys["lab.t"] = ["b", "a"]
    world.update("lab.t", "a = 2")
    world.ddl("ALTER TABLE lab.t DROP CONSTRAINT t_pkey")
    del world.keys["lab.t"]
    world.delete("lab.t")
    world.check()


def test_a_unique_index_becomes_the_key(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (a int NOT NULL, b int NOT NULL)")
    world.insert("lab.t", "1, 2")
    world.ddl("CREATE UNIQUE INDEX i ON lab.t (b, a); ALTER TABLE lab.t ADD PRIMARY KEY USING INDEX i")
    world.keys["lab.t"] = ["b", "a"]
    world.update("lab.t", "a = 5")
    world.check()


def test_a_table_is_renamed(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY)")
    world.keys["lab.t"] = world.keys["lab.u"] = ["id"]
    world.insert("lab.t", "1")
    world.ddl("ALTER TABLE lab.t RENAME TO u")
    world.update("lab.u", "id = 2")
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY)")
    world.insert("lab.t", "3")
    world.delete("lab.u")
    world.check()


def test_a_table_moves_to_another_schema(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY); CREATE SCHEMA lab_2")
    world.keys["lab.t"] = world.keys["lab_2.t"] = ["id"]
    world.insert("lab.t", "1")
    world.ddl("ALTER TABLE lab.t SET SCHEMA lab_2")
    world.update("lab_2.t", "id = 2")
    world.check()


def test_a_schema_is_renamed(world: World) -> None:
    if world.mode is Mode.SYNC and connection.pg_version < 160000:  # type: ignore[attr-defined]
        pytest.skip(
            "before PostgreSQL 16 pgoutput goes on with the old name, and nobody tells us the new one"
        )
    world.ddl("CREATE SCHEMA lab_2 CREATE TABLE t (id int PRIMARY KEY)")
    world.ddl(
        "CREATE TABLE lab_2.p (id int) PARTITION BY RANGE (id);"
        "CREATE TABLE lab.leaf PARTITION OF lab_2.p DEFAULT"
    )
    world.keys["lab_2.t"] = world.keys["lab_3.t"] = ["id"]
    world.insert("lab_2.t", "1")
    world.insert("lab.leaf", "1", under="lab_2.p")
    world.ddl("ALTER SCHEMA lab_2 RENAME TO lab_3")
    world.update("lab_3.t", "id = 2")
    world.insert("lab.leaf", "2", under="lab_3.p")
    world.check()


def test_a_table_is_dropped_and_another_of_its_name_is_created(world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, a text)")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1, 'x'")
    world.ddl("DROP TABLE lab.t; CREATE TABLE lab.t (id text, a int[], b text PRIMARY KEY)")
    world.keys["lab.t"] = ["b"]
    world.insert("lab.t", "'1', '{1}', 'key'")
    world.ddl("DROP TABLE lab.t")
    world.check()


def test_values_are_added_to_an_enum_and_renamed(world: World) -> None:
    world.ddl("CREATE TYPE lab.mood AS ENUM ('sad', 'glad')")
    world.ddl("CREATE TABLE lab.t (id lab.mood PRIMARY KEY, every lab.mood[])")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "'sad', '{sad,glad}'")
    world.ddl("ALTER TYPE lab.mood ADD VALUE 'mad'")
    if world.mode is Mode.TRANSACTION:
        # The server allows it later only.
        world.update("lab.t", "id = 'glad'")
    else:
        world.update("lab.t", "id = 'mad', every = '{mad}'")
    world.ddl("ALTER TYPE lab.mood RENAME VALUE 'glad' TO 'happy'")
    world.delete("lab.t")
    world.check()


def test_attributes_of_a_composite_type_are_added_dropped_and_renamed(world: World) -> None:
    world.ddl("CREATE TYPE lab.pair AS (a int, b text); CREATE DOMAIN lab.good_pair AS lab.pair")
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, one lab.pair, many lab.pair[], good lab.good_pair)")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", """1, '(1,x)', '{"(1,x)"}', '(1,x)'""")
    world.ddl("ALTER TYPE lab.pair ADD ATTRIBUTE c int[]")
    world.insert("lab.t", """2, '(1,x,"{5}")', NULL, '(1,x,)'""")
    world.ddl("ALTER TYPE lab.pair RENAME ATTRIBUTE a TO z")
    world.update("lab.t", "good = NULL", "id = 2")
    world.ddl("ALTER TYPE lab.pair DROP ATTRIBUTE b")
    world.update("lab.t", """many = '{"(7,)"}'""", "id = 1")
    world.delete("lab.t", "id = 1")
    world.check()


def test_a_type_goes_after_its_table(world: World) -> None:
    world.ddl(
        "CREATE TYPE lab.pair AS (a int, b text);"
        "CREATE DOMAIN lab.few AS int[];"
        "CREATE TYPE lab.e AS ENUM ('x')"
    )
    world.ddl("CREATE TABLE lab.t (a lab.pair, b lab.few, c lab.e[], d lab.few PRIMARY KEY)")
    world.keys["lab.t"] = ["d"]
    world.insert("lab.t", "'(1,x)', '{1}', '{x}', '{2}'")
    world.ddl("DROP TABLE lab.t; DROP TYPE lab.pair; DROP DOMAIN lab.few; DROP TYPE lab.e")
    world.check()


def test_a_type_takes_its_columns_with_it(world: World) -> None:
    world.ddl("CREATE TYPE lab.mood AS ENUM ('sad', 'glad')")
    world.ddl("CREATE TABLE lab.t (id int, mood lab.mood, PRIMARY KEY (mood, id))")
    world.keys["lab.t"] = ["mood", "id"]
    world.insert("lab.t", "1, 'sad'")
    world.ddl("DROP TYPE lab.mood CASCADE")
    del world.keys["lab.t"]
    world.update("lab.t", "id = 2")
    world.check()


def test_a_function_takes_what_is_computed_by_it_with_it(world: World) -> None:
    world.ddl("CREATE FUNCTION lab.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'")
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, made int GENERATED ALWAYS AS (lab.twice(id)) STORED)")
    world.keys["lab.t"] = ["id"]
    if world.mode is not Mode.STOPPED and world.mode is not Mode.TRANSACTION:
        # Before PostgreSQL 18 the worker computes it when it reads.
        world.insert("lab.t", "1")
    world.ddl("DROP FUNCTION lab.twice CASCADE")
    world.insert("lab.t", "2")
    world.check()


@pytest.fixture
def no_hstore(pipeline: Pipeline) -> Iterator[None]:
    with without_extension("hstore"):
        yield


def test_an_extension_comes_later_and_goes(no_hstore: None, world: World) -> None:
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY)")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1")
    world.ddl("CREATE EXTENSION hstore SCHEMA lab; ALTER TABLE lab.t ADD h lab.hstore")
    world.update("lab.t", "h = 'a=>1'")
    # Only the extension itself can render its type.
    world.check()
    world.begin()
    world.ddl("DROP EXTENSION hstore CASCADE")
    world.update("lab.t", "id = 2")
    world.check()


def test_a_type_gets_a_cast_to_json_and_loses_it(world: World) -> None:
    world.ddl(
        "CREATE TYPE lab.e AS ENUM ('x', 'y'); CREATE FUNCTION lab.hide(lab.e) RETURNS json LANGUAGE sql "
        "AS $$SELECT json_build_object('length', length($1::text))$$"
    )
    world.ddl("CREATE TABLE lab.t (id int PRIMARY KEY, e lab.e, many lab.e[])")
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1, 'x', '{x}'")
    world.ddl("CREATE CAST (lab.e AS json) WITH FUNCTION lab.hide(lab.e)")
    world.update("lab.t", "e = 'y'")
    world.ddl("DROP CAST (lab.e AS json)")
    world.update("lab.t", "e = NULL")
    world.check()


def test_a_partition_is_attached_and_detached(world: World) -> None:
    world.ddl(
        "CREATE TABLE lab.root (id int, a text) PARTITION BY RANGE (id);"
        "CREATE TABLE lab.leaf (id int, a text)"
    )
    world.ddl("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.late (id int, a text)")
    try:
        world.insert("lab.leaf", "1, 'alone'")
        world.ddl("ALTER TABLE lab.root ATTACH PARTITION lab.leaf FOR VALUES FROM (0) TO (10)")
        world.ddl("ALTER TABLE lab.root ATTACH PARTITION elsewhere.late FOR VALUES FROM (10) TO (20)")
        world.update("lab.leaf", "a = 'part'", under="lab.root")
        world.insert("elsewhere.late", "11, 'part'", under="lab.root")
        world.update("elsewhere.late", "a = 'x'", under="lab.root")
        world.ddl("ALTER TABLE lab.root DETACH PARTITION lab.leaf")
        world.update("lab.leaf", "a = 'alone'")
        world.delete("elsewhere.late", under="lab.root")
        world.delete("lab.leaf")
        world.check()
    finally:
        world.close()
        execute("DROP SCHEMA elsewhere CASCADE")


def test_a_partition_that_was_born_as_one_is_detached_with_its_own_partitions(world: World) -> None:
    world.ddl(
        "CREATE TABLE lab.root (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE lab.middle PARTITION OF lab.root DEFAULT PARTITION BY RANGE (id);"
        "CREATE TABLE lab.leaf PARTITION OF lab.middle DEFAULT"
    )
    world.keys["lab.leaf"] = ["id"]
    world.insert("lab.leaf", "1", under="lab.root")
    world.ddl("ALTER TABLE lab.root DETACH PARTITION lab.middle")
    world.insert("lab.leaf", "2", under="lab.middle")
    world.ddl("ALTER TABLE lab.middle RENAME TO centre")
    world.insert("lab.leaf", "3", under="lab.centre")
    world.check()


def test_a_root_is_altered_with_its_partitions(world: World) -> None:
    world.ddl(
        "CREATE TABLE lab.root (id int, a int) PARTITION BY RANGE (id);"
        "CREATE TABLE lab.leaf PARTITION OF lab.root DEFAULT"
    )
    world.insert("lab.leaf", "1, 1", under="lab.root")
    world.ddl("ALTER TABLE lab.root ADD b int[], ADD PRIMARY KEY (id)")
    world.keys["lab.leaf"] = ["id"]
    world.update("lab.leaf", "b = '{1}'", under="lab.root")
    world.ddl("ALTER TABLE lab.root RENAME TO stem")
    world.delete("lab.leaf", under="lab.stem")
    world.check()


def test_a_parent_is_altered_with_its_children(world: World) -> None:
    world.ddl(
        "CREATE TABLE lab.parent (id int);"
        "CREATE TABLE lab.child (own int[], PRIMARY KEY (id)) INHERITS (lab.parent)"
    )
    world.keys["lab.child"] = ["id"]
    world.insert("lab.child", "1, '{1}'")
    world.ddl("ALTER TABLE lab.parent RENAME id TO code; ALTER TABLE lab.parent ADD more int[]")
    world.keys["lab.child"] = ["code"]
    world.update("lab.child", "more = '{2}'")
    world.check()


def test_a_table_of_a_type_is_altered_with_it(world: World) -> None:
    world.ddl("CREATE TYPE lab.pair AS (a int, b text); CREATE TABLE lab.t OF lab.pair (PRIMARY KEY (a))")
    world.keys["lab.t"] = ["a"]
    world.insert("lab.t", "1, 'x'")
    world.ddl(
        "ALTER TYPE lab.pair RENAME ATTRIBUTE a TO b2 CASCADE;"
        "ALTER TYPE lab.pair ADD ATTRIBUTE c int[] CASCADE"
    )
    world.keys["lab.t"] = ["b2"]
    world.update("lab.t", "c = '{1}'")
    world.check()


def test_a_row_type_of_another_table_changes(world: World) -> None:
    world.ddl(
        "CREATE TABLE lab.part (a int, b text); CREATE TABLE lab.whole (id int PRIMARY KEY, part lab.part)"
    )
    world.keys["lab.whole"] = ["id"]
    world.insert("lab.whole", "1, '(1,x)'")
    world.ddl("ALTER TABLE lab.part RENAME b TO c; ALTER TABLE lab.part ADD d int")
    world.update("lab.whole", "part = '(1,x,3)'")
    world.check()


def test_what_a_generated_column_is_made_of_changes(world: World) -> None:
    world.ddl(
        "CREATE TABLE lab.t (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a / 2.0) STORED,"
        " word varchar(3) GENERATED ALWAYS AS (left(a::text, 2)) STORED)"
    )
    world.keys["lab.t"] = ["id"]
    world.insert("lab.t", "1, 5")
    world.ddl("ALTER TABLE lab.t DROP word, ADD word varchar(3) GENERATED ALWAYS AS ('x') STORED")
    world.update("lab.t", "a = 4")
    world.ddl(
        "ALTER TABLE lab.t DROP twice;"
        "ALTER TABLE lab.t ADD twice numeric(9,3) GENERATED ALWAYS AS (a * 2) STORED"
    )
    world.update("lab.t", "a = 6")
    world.ddl(
        "ALTER TABLE lab.t RENAME a TO b; ALTER TABLE lab.t RENAME twice TO a; ALTER TABLE lab.t RENAME TO u"
    )
    world.keys["lab.u"] = ["id"]
    world.update("lab.u", "b = 7")
    world.ddl("DROP TABLE lab.u")
    world.check()


def test_what_renders_a_type_may_have_another_name_by_now_but_must_be_there(pipeline: Pipeline) -> None:
    execute("CREATE TYPE lab.e AS ENUM ('x', 'y')")
    execute(
        "CREATE FUNCTION lab.hide(lab.e) RETURNS json LANGUAGE sql "
        "AS $$SELECT json_build_object('e', $1::text)$$"
    )
    execute("CREATE CAST (lab.e AS json) WITH FUNCTION lab.hide(lab.e)")
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, e lab.e)")
    execute("INSERT INTO lab.t VALUES (1, 'x')")
    assert [change.after for change in pipeline.drain()] == ['{"e": {"e": "x"}, "id": 1}']
    execute("INSERT INTO lab.t VALUES (2, 'y')")
    execute('ALTER FUNCTION lab.hide(lab.e) RENAME TO "HIDE %"')
    execute('ALTER TYPE lab.e RENAME TO "E %"')
    assert [change.after for change in pipeline.drain()] == ['{"e": {"e": "y"}, "id": 2}']
    pipeline.stop()
    execute("UPDATE lab.t SET id = 3 WHERE id = 1")
    execute("DROP TABLE lab.t")
    execute('DROP FUNCTION lab."HIDE %" CASCADE')
    (change,) = pipeline.drain()
    assert (change.key, change.unavailable) == ("3", {"before": ["e"], "after": ["e"]})


def test_a_function_that_renders_a_type_is_replaced_under_the_worker(pipeline: Pipeline) -> None:
    replaced = (
        "CREATE OR REPLACE FUNCTION lab.hide(lab.e) RETURNS json LANGUAGE sql "
        "AS $$SELECT json_build_object('{}', $1::text)$$"
    )
    execute("CREATE TYPE lab.e AS ENUM ('x')")
    execute(replaced.format("old"))
    execute("CREATE CAST (lab.e AS json) WITH FUNCTION lab.hide(lab.e)")
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, e lab.e)")
    execute("INSERT INTO lab.t VALUES (1, 'x')")
    assert [change.after for change in pipeline.drain()] == ['{"e": {"old": "x"}, "id": 1}']
    execute(replaced.format("new"))
    execute("INSERT INTO lab.t VALUES (2, 'x')")
    assert [change.after for change in pipeline.drain()] == ['{"e": {"new": "x"}, "id": 2}']


@pytest.mark.parametrize("has_seen_the_table", [True, False])
def test_a_cast_that_renders_a_type_comes_and_goes_under_the_worker(
    pipeline: Pipeline, has_seen_the_table: bool
) -> None:
    execute("CREATE TYPE lab.e AS ENUM ('x')")
    execute(
        "CREATE FUNCTION lab.hide(lab.e) RETURNS json LANGUAGE sql "
        "AS $$SELECT json_build_object('k', $1::text)$$"
    )
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, e lab.e, es lab.e[])")
    execute("INSERT INTO lab.t VALUES (1, 'x', '{x}')")
    first = ['{"e": "x", "es": ["x"], "id": 1}']
    if has_seen_the_table:
        assert [change.after for change in pipeline.drain()] == first
        first = []
    execute("CREATE CAST (lab.e AS json) WITH FUNCTION lab.hide(lab.e)")
    execute("INSERT INTO lab.t VALUES (2, 'x', '{x}')")
    second = ['{"e": {"k": "x"}, "es": [{"k": "x"}], "id": 2}']
    assert [change.after for change in pipeline.drain()] == first + second
    execute("DROP CAST (lab.e AS json)")
    execute("INSERT INTO lab.t VALUES (3, 'x', '{x}')")
    assert [change.after for change in pipeline.drain()] == ['{"e": "x", "es": ["x"], "id": 3}']


@pytest.mark.administrator
def test_descriptions_that_no_slot_needs_are_removed(pipeline: Pipeline) -> None:
    def pass_all() -> None:
        """Move the slot so far that it needs nothing that was written before."""
        ((lsn,),) = execute("SELECT pg_current_wal_insert_lsn()")
        for _ in range(20):
            execute("CHECKPOINT")
            execute("INSERT INTO lab.other VALUES (1)")
            pipeline.drain()
            query = (
                "SELECT min(restart_lsn) > %s FROM pg_replication_slots WHERE database = current_database()"
            )
            if execute(query, [lsn]) == [(True,)]:
                return
        pytest.fail("the slot does not move")

    execute("CREATE TABLE lab.other (id int)")
    execute("CREATE TABLE lab.t (id int PRIMARY KEY)")
    ((oid,),) = execute("SELECT 'lab.t'::regclass::oid")

    def kept() -> int:
        return len(execute("SELECT since FROM _bemi.relations WHERE relation = %s", [oid]))

    for number in range(8):
        execute(f"ALTER TABLE lab.t ADD c{number} int")
    # The slot needs all of them yet.
    assert kept() == 9
    pass_all()
    execute("ALTER TABLE lab.t ADD last int")
    # The first one, the one that was valid up to now, and the new one.
    assert kept() == 3
    execute("INSERT INTO lab.t (id, last) VALUES (1, 2)")
    (change,) = pipeline.drain()
    assert (change.key, '"last": 2' in change.after) == ("1", True)
    execute("INSERT INTO lab.t (id, last) VALUES (2, 3)")
    execute("DROP TABLE lab.t")
    assert kept() == 3
    (change,) = pipeline.drain()
    assert (change.key, '"last": 3' in change.after) == ("2", True)
    pass_all()
    execute("CREATE TABLE lab.third (id int)")
    execute("DROP TABLE lab.third")
    # By the last of them, the table can be restored.
    assert kept() == 3
    drop_a_hundred_tables()
    execute("CREATE TABLE lab.fourth (id int)")
    execute("DROP TABLE lab.fourth")
    assert kept() == 0
    execute("DELETE FROM _bemi.relations WHERE relation < 1000")


def drop_a_hundred_tables() -> None:
    """Leave the descriptions of a hundred tables that are no longer there, by oids that no table has."""
    execute(
        "INSERT INTO _bemi.relations (relation, description, ended) "
        "SELECT number::oid, '{}', pg_current_wal_insert_lsn() FROM generate_series(1, 100) number"
    )
