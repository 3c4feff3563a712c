"""Where the role may have no event triggers, ``sync`` (so ``migrate``) is the only notice of DDL.

After it all is as with them. For rows written between DDL and the next ``sync`` this is guaranteed: the names
of tables and columns are right, and so are the values of all columns, or they are said to be unavailable.

Not guaranteed before ``sync`` is what the stream does not tell: another key, another root of partitions,
other expressions of generated columns (before PostgreSQL 18, which sends them), new names of the attributes
of a composite type, new casts to json; the name of a renamed schema before PostgreSQL 16; and that new tables
and detached partitions are recorded at all.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bemi_django.models import DeadLetter
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute
from tests.support.server_conditions import no_event_triggers, sync_as_migrator
from tests.support.witness import Witness


@pytest.fixture
def unnoticed(pipeline: Pipeline) -> Iterator[Pipeline]:
    execute("CREATE TYPE lab.pair AS (a int, b text)")
    execute("CREATE TABLE lab.t (id int PRIMARY KEY, a text, pair lab.pair)")
    execute("INSERT INTO lab.t VALUES (1, '{1}', '(1,x)')")
    pipeline.drain()
    with no_event_triggers():
        yield pipeline


@pytest.fixture
def witness() -> Witness:
    made = Witness()
    made.keys["lab.t"] = ["id"]
    return made


WRITES = {
    "ADD b int[]": "b = '{1,2}'",
    "ADD b lab.pair[] DEFAULT '{\"(1,x)\"}'": "a = '{2}'",
    "DROP a": "pair = NULL",
    "RENAME a TO b": "b = '{2}'",
    "RENAME id TO code": "a = '{2}'",
    "ALTER a TYPE int[] USING a::int[]": "a = '{2}'",
    "DROP a, ADD a jsonb": "a = '{\"x\": 1}'",
}


@pytest.mark.parametrize("read", ["at once", "after sync", "after more DDL", "after more DDL and sync"])
def test_columns_are_right(unnoticed: Pipeline, witness: Witness, read: str) -> None:
    for number in range(len(WRITES)):
        execute(f"CREATE TABLE lab.t{number} (LIKE lab.t INCLUDING ALL)")
        execute(f"INSERT INTO lab.t{number} TABLE lab.t")
        witness.keys[f"lab.t{number}"] = ["id"]
    sync_as_migrator()
    if read != "at once":
        unnoticed.stop()
    for number, (ddl, assignment) in enumerate(WRITES.items()):
        execute(f"ALTER TABLE lab.t{number} {ddl}")
        if ddl == "RENAME id TO code":
            witness.keys[f"lab.t{number}"] = ["code"]
        witness.update(f"lab.t{number}", assignment)
        if "more DDL" in read:
            execute(f"ALTER TABLE lab.t{number} ADD more int[], ALTER pair TYPE text USING 'gone'")
    if "sync" in read:
        sync_as_migrator()
    assert unnoticed.drain() == witness.expected


def test_a_renamed_table_is_recorded_under_its_name(unnoticed: Pipeline, witness: Witness) -> None:
    execute("ALTER TABLE lab.t RENAME TO u")
    witness.keys["lab.u"] = ["id"]
    witness.update("lab.u", "a = 'x'")
    assert unnoticed.drain() == witness.expected


@pytest.mark.parametrize("is_synced", [False, True])
def test_an_attribute_that_was_added_shows_itself(
    unnoticed: Pipeline, witness: Witness, is_synced: bool
) -> None:
    execute("ALTER TYPE lab.pair ADD ATTRIBUTE c int[]")
    witness.update("lab.t", """pair = '(2,y,"{1}")'""")
    if is_synced:
        sync_as_migrator()
    assert unnoticed.drain() == witness.expected


def test_an_attribute_that_was_renamed_has_its_old_name_until_sync(
    unnoticed: Pipeline, witness: Witness
) -> None:
    execute("ALTER TYPE lab.pair RENAME ATTRIBUTE a TO z")
    execute("UPDATE lab.t SET a = 'x'")
    (change,) = unnoticed.drain()
    assert '"pair": {"a": 1, "b": "x"}' in change.after
    sync_as_migrator()
    witness.update("lab.t", "a = 'y'")
    assert unnoticed.drain() == witness.expected


def test_another_key_is_known_from_sync_on(unnoticed: Pipeline) -> None:
    execute("ALTER TABLE lab.t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (a)")
    execute("UPDATE lab.t SET a = 'x'")
    sync_as_migrator()
    execute("UPDATE lab.t SET a = 'y'")
    assert [change.key for change in unnoticed.drain()] == ["1", "y"]


def test_a_new_table_is_recorded_from_sync_on(unnoticed: Pipeline) -> None:
    execute("CREATE TABLE lab.new (id int PRIMARY KEY)")
    execute("INSERT INTO lab.new VALUES (1)")
    sync_as_migrator()
    execute("INSERT INTO lab.new VALUES (2)")
    assert [change.key for change in unnoticed.drain()] == ["2"]


def test_a_detached_partition_is_recorded_from_sync_on(unnoticed: Pipeline) -> None:
    execute("CREATE TABLE lab.root (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    execute("CREATE TABLE lab.leaf PARTITION OF lab.root DEFAULT")
    sync_as_migrator()
    execute("INSERT INTO lab.leaf VALUES (1)")
    execute("ALTER TABLE lab.root DETACH PARTITION lab.leaf")
    execute("INSERT INTO lab.leaf VALUES (2)")
    sync_as_migrator()
    execute("INSERT INTO lab.leaf VALUES (3)")
    found = [(change.table, change.partition, change.key) for change in unnoticed.drain()]
    # PostgreSQL 14 goes on with the partition, to a worker that is connected.
    assert [row for row in found if row[2] != "2"] == [("root", "lab.leaf", "1"), ("leaf", None, "3")]


def test_a_value_of_a_type_that_nobody_remembers_is_not_made_up(unnoticed: Pipeline) -> None:
    unnoticed.stop()
    execute("CREATE TYPE lab.mood AS ENUM ('sad')")
    execute("ALTER TABLE lab.t ADD mood lab.mood[]")
    execute("UPDATE lab.t SET mood = '{sad}'")
    execute("ALTER TABLE lab.t DROP mood")
    execute("DROP TYPE lab.mood")
    (change,) = unnoticed.drain()
    assert change.unavailable == {"after": ["mood"]}
    assert '"mood": null' in change.before and "mood" not in change.after
    (letter,) = DeadLetter.objects.all()
    assert letter.reason == "after.mood: LookupError" and b"{sad}" in bytes(letter.message)
